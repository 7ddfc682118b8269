import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from './nearest.ts';

describe('nearest', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['maxPod', 'maxPods', 1],
    ['answer-hihg', 'answer-high', 1],
    ['levle', 'level', 1],
    ['ba', 'abc', 2],
    ['kitten', 'sitting', 3],
  ])('distance - %j to %j is %d, and the same back', (a, b, distance) => {
    expect([editDistance(a, b), editDistance(b, a)]).toEqual([distance, distance]);
  });

  it('a slip - is found; another word is not', () => {
    const keys = ['answer-critical', 'answer-high', 'observe'];
    expect(nearest('answer-hihg', keys)).toBe('answer-high');
    expect(nearest('observ', keys)).toBe('observe');
    expect(nearest('levle', ['title', 'level'])).toBe('level');
    expect(nearest('quarantine', keys)).toBeNull();
    expect(nearest('ab', ['xy'])).toBeNull();
    expect(nearest('ab', [])).toBeNull();
  });
});
