import { describe, expect, it } from 'vitest';
import { createdMicrosOf, lifeName, lifeOf, metadataOfCopy, metadataOfRestored } from './stream-lives.ts';

const created = '1970-01-01T00:00:01.000000000Z';
const life = (metadata: Record<string, string>) => ({ created, config: { metadata } });

describe('lives of a stream', () => {
  it('restored twice - each sequence belongs to the newest restore before it', () => {
    const once = metadataOfRestored({ metadata: { kept: '1' } }, 5, 2_000);
    const twice = metadataOfRestored({ metadata: once }, 9, 3_000);
    expect(twice['kept']).toBe('1');
    const lives = [5, 6, 9, 10].map((sequence) => lifeOf(life(twice), sequence));
    expect(lives).toEqual([1_000, 2_000, 2_000, 3_000]);
    expect([lifeName(life({})), lifeName(life(once))]).toEqual([created, `${created} restored 2000`]);
    // The former backup again: sequences 6 to 9 of the second life are gone.
    const older = metadataOfRestored({ metadata: twice }, 5, 4_000);
    expect([5, 6, 10].map((sequence) => lifeOf(life(older), sequence))).toEqual([1_000, 4_000, 4_000]);
  });

  it('a server that renews the creation time at a restore - the stream keeps its first one', () => {
    const copied = metadataOfCopy(life({ kept: '1' }));
    const restored = metadataOfRestored({ metadata: copied }, 5, 2_000);
    const renewed = { created: '1970-01-01T00:00:02.000000000Z', config: { metadata: restored } };
    expect([5, 6].map((sequence) => lifeOf(renewed, sequence))).toEqual([1_000, 2_000]);
    expect([createdMicrosOf(renewed), lifeName(renewed)]).toEqual([1_000_000, `${created} restored 2000`]);
    expect(metadataOfCopy(renewed)).toEqual(restored);
  });

  it.each(['{', '[[1]]', '7'])('metadata of another writer, %s - as without', (text) => {
    expect(lifeOf(life({ 'bailiff.dev/restores': text }), 7)).toBe(1_000);
  });
});
