/** The node of a test file, or of a part of it. */
import { afterAll, beforeAll } from 'vitest';
import { type NodeOptions, TestNode } from './node.ts';

/** It is made, and its programs are opened, before the first test; it is removed after the last one. */
export function useNode(options: NodeOptions = {}): TestNode {
  const node = new TestNode(options);
  beforeAll(async () => {
    await node.create();
    await node.open();
  });
  afterAll(() => node[Symbol.asyncDispose]());
  return node;
}
