// Mounts by both interfaces, the guard of protected paths, and files reached through mounts of the
// host. Each way lands without a policy, is refused if its own kind is denied, and lands if others
// are. One container, one policy after another.
import { copyFileSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Container, type Counts, FilesRig, LOAD_TIMEOUT_MS, type Running, staticProgram } from './files-rig.ts';

const KINDS = ['new', 'bind', 'move', 'remount', 'umount', 'pivot', 'propagation'] as const;
type Kind = (typeof KINDS)[number];

const enforce = (...rules: NonNullable<RuntimePolicyInput['rules']>): RuntimePolicyInput => ({
  mode: 'enforce',
  rules,
});
const deny = (operations: Kind[]) => ({ name: 'mounts', action: 'block' as const, mount: { operations } });
const guarded = { name: 'guarded', action: 'block' as const, file: { paths: ['/protected/secret'] } };

interface Ended {
  readonly way: string;
  readonly kind: string;
  readonly outcome: string;
}

describe('mounts', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-leak-'));
  const leaked = path.join(dir, 'inner');
  let rig: FilesRig;
  let container: Container;
  let running: Running;
  beforeAll(async () => {
    mkdirSync(leaked);
    writeFileSync(path.join(dir, 'hostname'), '');
    writeFileSync(path.join(leaked, 'hostname'), '');
    const program = staticProgram('mount-ops.c');
    copyFileSync(program, path.join(leaked, 'quick'));
    rig = new FilesRig();
    container = rig.container();
    running = container.run(container.install(program, 'mount-ops'), [], openSync(leaked, 'r'));
    await running.line('ready');
  }, LOAD_TIMEOUT_MS);
  afterAll(() => {
    rig?.[Symbol.dispose]();
    rmSync(dir, { recursive: true });
  });

  /** Tries every way under the current policy. */
  async function ways(): Promise<Ended[]> {
    writeFileSync(path.join(leaked, 'gone'), '');
    running.lines.length = 0;
    running.go();
    await running.line('done');
    return running.lines.slice(0, -1).map((line) => {
      const [way = '', kind = '', ...outcome] = line.split(' ');
      return { way, kind, outcome: outcome.join(' ') };
    });
  }

  /**
   * Under a policy: the names of the refused ways, and the counts. A way that neither landed nor
   * was refused is a failure.
   */
  async function under(policy: RuntimePolicyInput): Promise<{ refused: string[]; counts: Counts }> {
    rig.apply(container, policy);
    const ended = await ways();
    expect(ended.filter(({ outcome }) => outcome !== 'landed' && outcome !== 'refused')).toEqual([]);
    const refused = ended.filter(({ outcome }) => outcome === 'refused').map(({ way }) => way);
    return { refused, counts: rig.counts(container) };
  }

  let all: Ended[];
  const of = (...kinds: string[]): string[] => all.filter(({ kind }) => kinds.includes(kind)).map(({ way }) => way);

  it('control - without policy every way lands', async () => {
    all = await ways();
    expect(all.filter(({ outcome }) => outcome !== 'landed')).toEqual([]);
  });

  it.each(KINDS)('%s - alone is refused, by both interfaces, and each refusal is counted once', async (kind) => {
    const expected = kind === 'new' ? of('new', 'overlay') : of(kind);
    expect(expected.length).toBeGreaterThan(0);
    expect(await under(enforce(deny([kind])))).toEqual({ refused: expected, counts: { mounts: expected.length } });
  });

  it('guard - with a protected path, operations that create another name are refused and all others land', async () => {
    const expected = of('overlay', 'bind', 'move', 'pivot');
    expect(await under(enforce(guarded))).toEqual({ refused: expected, counts: { guarded: expected.length } });
  });

  it('guard - a rule that allows a kind lifts it for that kind alone', async () => {
    const allow = { name: 'allowed', action: 'allow' as const, mount: { operations: ['bind' as const] } };
    const expected = of('overlay', 'move', 'pivot');
    expect(await under(enforce(guarded, allow))).toEqual({ refused: expected, counts: { guarded: expected.length } });
  });

  it('guard - a policy in audit mode refuses nothing', async () => {
    const { refused } = await under({ mode: 'audit', rules: [guarded, deny([...KINDS])] });
    expect(refused).toEqual([]);
  });

  it('mount point - a mount that holds a protected path cannot be covered, unmounted, moved or pivoted into', async () => {
    const rule = { ...guarded, file: { paths: ['/volume/file'], operations: ['write' as const] } };
    const expected = of('overlay', 'bind', 'move', 'umount', 'pivot');
    expect(await under(enforce(rule))).toMatchObject({ refused: expected });
  });

  it('host mounts - a leaked directory, /proc and a joined namespace are refused, own files are not', async () => {
    const rule = { name: 'host', action: 'block' as const, kernel: { operations: ['host-mounts' as const] } };
    const expected = of('host-mounts');
    expect(await under(enforce(rule))).toEqual({ refused: expected, counts: { host: expected.length } });
  });

  it('no hook - mount_setattr passes, whatever is denied', async () => {
    const { refused } = await under(enforce(deny([...KINDS]), guarded));
    expect(refused).not.toContain('set-attributes');
    expect(refused).toContain('remount-bind');
  });
});
