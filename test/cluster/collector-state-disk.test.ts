// A node whose disk pods have filled, or that is read-only: the collector starts and guards without its
// state directory, also as the first of a boot.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exec } from '../lab/src/process/exec.ts';
import { CniNode, forged } from '../support/cni-node.ts';
import { SmallDisk } from '../support/small-disk.ts';

const INODES = 64;

describe('the disk of the state directory', () => {
  let cni: CniNode;
  beforeEach(async () => {
    cni = await CniNode.create();
    cni.writePrimary('ptp');
    await exec('mount', ['-t', 'tmpfs', '-o', `size=4m,nr_inodes=${INODES}`, 'bailiff-disk', cni.node.stateDir]);
  });
  afterEach(async () => {
    await cni.node.killCollector('SIGKILL');
    await exec('umount', [cni.node.stateDir]);
    await cni[Symbol.asyncDispose]();
  });

  const at = (name: string) => path.join(cni.node.stateDir, name);
  /** Uses up the blocks and the inodes. */
  const fill = () => {
    new SmallDisk(cni.node.stateDir).fill();
    for (let n = 0; n < INODES; n++)
      try {
        writeFileSync(at(`file-${n}`), '');
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
      }
  };
  const start = () => cni.start('closed');
  /** What the status on the bus says of the state directory: '' if it can be written. */
  const reported = async () => {
    const { features = [] } = (await cni.node.nodeStatus()) ?? {};
    return features.find(({ name }) => name === 'state-files')?.reason.split(':')[0] ?? 'none';
  };
  const says = (reason: string) =>
    waitFor(async () => (await reported()) === reason, {
      what: `a status with the state directory "${reason}"`,
      state: reported,
    });
  const isGuarded = async ({ pod }: Awaited<ReturnType<CniNode['add']>>, count = 20) => {
    await cni.node.send(pod, [forged(pod)], 20);
    await cni.isDropped(pod, 'programmed', count);
  };

  it.each([
    ['full', 'ENOSPC', fill],
    ['read-only', 'EROFS', () => exec('mount', ['-o', 'remount,ro', cni.node.stateDir])],
  ])(
    '%s at the first start of a boot - pods start behind their guards; control: nothing can be stored',
    async (_, code, spoil) => {
      await spoil();
      expect(() => mkdirSync(at('control'))).toThrow(code);
      await start();
      await isGuarded(await cni.add());
      expect(cni.node.log).toMatch(new RegExp(`"part":"state".*"reason":"(${code}|ENOENT)`));
      expect(await cni.node.metric('bailiff_collector_problems_total{part="state"}')).toBeGreaterThan(0);
      await says(code);
    },
  );

  it('full while it runs - pods start, a restart keeps guards and counts, and files are written when there is room', async () => {
    await start();
    const first = await cni.add();
    await says('');
    fill();
    await says('ENOSPC');
    const second = await cni.add();
    await isGuarded(second);
    await cni.node.killCollector('SIGKILL');
    await start();
    await isGuarded(await cni.add());
    await isGuarded(first);
    await isGuarded(second, 40);
    new SmallDisk(cni.node.stateDir).makeRoom();
    await exec('sh', ['-c', `rm ${cni.node.stateDir}/file-*`]);
    await says('');
    const { pod } = await cni.add();
    const { interfaces } = await cni.node.offlineStatus();
    expect(interfaces.find((one) => one.pod === `shop/${pod.name}`)).toMatchObject({ state: 'programmed' });
  });
});
