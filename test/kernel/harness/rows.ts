/**
 * A table of attacks. Each lands with nothing attached, then is dropped and counted exactly, while
 * the legal frame beside it still lands.
 */
import type { AddressGrant, IfaceRecord, Vector } from '@bailiff/bpf';
import { expect } from 'vitest';
import type { TestNode } from './node.ts';

export interface Row {
  readonly name: string;
  readonly vector: Vector;
  readonly attack: Buffer;
  /** The nearest legal frame. */
  readonly allow: Buffer;
  /** Further fields of the record. */
  readonly record?: Partial<IfaceRecord>;
  readonly grants?: readonly AddressGrant[];
}

const TIMES = 3;

/** Runs one row: control, then guarded. */
export async function judgeRow(node: TestNode, row: Row): Promise<void> {
  node.forgetLanded();
  await node.send(row.attack, TIMES);
  await node.fence();
  expect(node.landed(row.attack), 'control: the attack lands unguarded').toBe(TIMES);

  await using guarded = await node.guard(node.pods.attacker, { hasMore: row.grants !== undefined, ...row.record });
  if (row.grants !== undefined) await node.agent.call('object.maps.addresses.replace', guarded.key, row.grants);
  node.forgetLanded();
  await node.send(row.attack, TIMES);
  await node.send(row.allow, TIMES);
  await node.fence();
  expect(node.landed(row.attack), 'guarded: the attack does not land').toBe(0);
  expect(node.landed(row.allow), 'guarded: the legal frame lands').toBe(TIMES);
  expect(await guarded.counts()).toEqual({ [`${row.vector} drop`]: TIMES });
  const [sample] = await guarded.samples();
  expect(sample).toMatchObject({ vector: row.vector, action: 'drop', first: true, egress: false });
  expect(sample!.head).toEqual(row.attack.subarray(0, 64));
}
