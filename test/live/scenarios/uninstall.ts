/**
 * The last scenario of `--uninstall`: after it the attack lands again, and the cluster has no object
 * of Bailiff.
 */
import { randomBytes } from 'node:crypto';
import { uninstall } from '../install/install.ts';
import { floodFrame } from './load.ts';
import type { Scenario } from './scenario.ts';
import { castOf } from './spoof.ts';

const FRAMES = 200;
/** More files are counted, not named. */
const MAX_NAMED = 6;

const shortened = (files: readonly string[]) =>
  [...files.slice(0, MAX_NAMED), ...(files.length > MAX_NAMED ? [`${files.length - MAX_NAMED} more files`] : [])].join(
    ', ',
  );

export const UNINSTALL: Scenario = {
  name: 'uninstall',
  about: 'Bailiff is removed; nothing of it is left, and an attack lands again',
  prepare: async (live) => {
    await castOf(live);
    return [];
  },
  run: async (live) => {
    const { attacker, victim } = await castOf(live);
    await live.stage.removeObjects();
    const left = await uninstall(live);
    const marker = randomBytes(16);
    await victim.watch([marker]);
    const [sent = 0] = await attacker.send([await floodFrame(live, marker)], FRAMES);
    const landed = (await victim.counts()).counts[marker.toString('hex')] ?? 0;
    const pins = await live.stage.hostFiles(['/sys/fs/bpf/bailiff', '/var/lib/bailiff']);
    const seen = `left in the cluster: ${left.join(', ') || 'nothing'}; on the node: ${shortened(pins) || 'nothing'}; ${landed} of ${sent} packets land again`;
    const links = pins.filter((file) => /\/(links|programs|maps)\//.test(file));
    const isGood = left.length === 0 && links.length === 0 && landed === sent;
    return { status: isGood ? 'passed' : 'failed', detail: seen };
  },
};
