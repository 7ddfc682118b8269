import { describe, expect, test } from 'vitest';
import { NO_TENANT, WriteTurns } from './write-turns.ts';

const COALESCE_MS = 50;
/** Planning and encoding a full node with labels that do not compress. */
const FULL_NODE_MS = 60;
const STEP_MS = 10;
const NODES = 40;

/** A process that writes one snapshot after another, on a clock of its own. */
class Process {
  nowMs = 0;
  readonly turns = new WriteTurns(COALESCE_MS, () => this.nowMs);
  /** Time of each write of a key. */
  readonly written = new Map<string, number[]>();
  usedMs = 0;

  /** @param attack what tenants change between two writes */
  run(untilMs: number, attack: () => void = () => undefined): void {
    while (this.nowMs < untilMs) {
      attack();
      const turn = this.turns.next();
      const tookMs = turn ? FULL_NODE_MS : STEP_MS;
      this.nowMs += tookMs;
      if (!turn) continue;
      this.usedMs += tookMs;
      this.turns.end(turn, tookMs);
      this.written.set(turn.key, [...(this.written.get(turn.key) ?? []), this.nowMs]);
    }
  }

  changeAll(tenant: string): void {
    for (let node = 0; node < NODES; node += 1) this.turns.mark(`node-${node}`, tenant);
  }

  /** Time until a change of a key is written. */
  latencyOf(key: string, tenant: string, attack: () => void): number {
    const sinceMs = this.nowMs;
    this.turns.mark(key, tenant);
    const before = this.written.get(key)?.length ?? 0;
    while ((this.written.get(key)?.length ?? 0) === before) this.run(this.nowMs + 1, attack);
    return this.nowMs - sinceMs;
  }
}

describe('turns of snapshots', () => {
  test('turns - a tenant that changes pods of 40 nodes all the time delays no other tenant', () => {
    const process = new Process();
    const attack = () => process.changeAll('hostile');
    process.run(60_000, attack);
    for (const node of ['calm', 'node-7', 'node-7', 'node-8']) {
      expect(process.latencyOf(node, 'honest', attack)).toBeLessThanOrEqual(COALESCE_MS + 3 * FULL_NODE_MS);
      process.run(process.nowMs + 500, attack);
    }
  });

  test('turns - control: without the name of the tenant, the same changes delay all others by a round', () => {
    const process = new Process();
    const attack = () => process.changeAll(NO_TENANT);
    process.run(60_000, attack);
    expect(process.latencyOf('calm', NO_TENANT, attack)).toBeGreaterThan(30 * FULL_NODE_MS);
  });

  test('turns - a tenant that changes pods of one node all the time uses about a tenth of the process', () => {
    const process = new Process();
    process.run(100_000, () => process.turns.mark('node-1', 'hostile'));
    expect(process.usedMs).toBeLessThan(13_000);
    expect(process.usedMs).toBeGreaterThan(2_000);
    // Changes that no tenant causes are not slowed down.
    const other = new Process();
    other.run(100_000, () => other.turns.mark('node-1', NO_TENANT));
    expect(other.usedMs).toBeGreaterThan(40_000);
  });

  test('turns - the changes of five pods that start have no pause, also on a full node', () => {
    const process = new Process();
    for (let change = 0; change < 15; change += 1)
      expect(process.latencyOf('node-1', 'honest', () => undefined)).toBeLessThanOrEqual(
        COALESCE_MS + FULL_NODE_MS + STEP_MS,
      );
  });

  test('turns - a key is open until its turn ends; a mark meanwhile is due after it', () => {
    const process = new Process();
    process.turns.mark('node-1', 'a');
    expect(process.turns.next()).toBeNull();
    expect(process.turns.dueInMs).toBe(COALESCE_MS);
    process.nowMs = COALESCE_MS;
    const turn = process.turns.next();
    expect([turn?.key, [...(turn?.marks.keys() ?? [])]]).toEqual(['node-1', ['a']]);
    process.turns.mark('node-1', 'b');
    process.nowMs = 2 * COALESCE_MS;
    expect(process.turns.next()).toBeNull();
    expect([process.turns.size, process.turns.open, process.turns.dueInMs]).toEqual([1, 1, Number.POSITIVE_INFINITY]);
    if (turn) process.turns.again(turn);
    const repeated = process.turns.next();
    expect([...(repeated?.marks ?? [])].sort()).toEqual([
      ['a', 0],
      ['b', COALESCE_MS],
    ]);
    if (repeated) process.turns.end(repeated, 1);
    expect([process.turns.size, process.turns.open, process.turns.next()]).toEqual([0, 0, null]);
  });
});
