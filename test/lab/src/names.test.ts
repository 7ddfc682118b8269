import { describe, expect, it } from 'vitest';
import { isLabId, netnsPrefix, newLabId, nodeName, nodeNetns, podNetns } from './names.ts';

describe('names', () => {
  it('lab ids - start with a letter, and labs do not share a prefix', () => {
    const id = newLabId((below) => below - 1);
    expect(id).toBe('z9999');
    expect(isLabId(id)).toBe(true);
    expect(nodeNetns('abcd', 0).startsWith(netnsPrefix('abc'))).toBe(false);
  });

  it.each(['', 'A', '9a', 'a', '../x', 'a b', 'a'.repeat(17)])('lab ids - "%s" is invalid', (text) => {
    expect(isLabId(text)).toBe(false);
  });

  it('nodes - exactly one of each lab has dots, even a single one', () => {
    for (const count of [1, 2, 3, 9]) {
      const names = Array.from({ length: count }, (_, index) => nodeName(index, count));
      expect(names.filter((name) => name.includes('.'))).toHaveLength(1);
      expect(new Set(names).size).toBe(count);
    }
  });

  it('pods - two pods of one name have two namespaces', () => {
    expect(podNetns('abc', '11111111-2222-3333')).not.toBe(podNetns('abc', '11111111-2223-3333'));
  });
});
