/**
 * `npm run demo`: one lab, one attack twice. First everything runs but nothing is attached, and the forged packets land; then
 * collectors guard every interface, and the same attack is dropped, counted, judged and answered. `--json` adds the
 * summary as the last line. Ends with 0 only when every number is what it should be; leaves nothing behind, also on Ctrl-C.
 */
import { type Cast, castOf, chainRun, controlRun, forgetNeighbours } from '../attack/chain.ts';
import { debugWanted, tellError } from '../errors.ts';
import { parseFlags, wrongUse } from '../flags.ts';
import { isLabId } from '../names.ts';
import { CNI_PLUGINS, type CniPlugin } from '../plan.ts';
import { removeStaleLabs } from '../retire.ts';
import { startLab } from '../supervisor/bring-up.ts';
import type { Lab } from '../supervisor/lab.ts';
import { LiveLine } from './live-line.ts';
import { progressText, shortfalls, summarise, summaryText } from './summary.ts';

const CONTROL_FRAMES = 200;
const COMMAND = 'npm run demo';
/** npm keeps flags for itself that come before two dashes. */
const COMMAND_HELP = `${COMMAND} --`;
const USAGE = `usage: ${COMMAND} [-- FLAGS]

Brings a cluster up on this machine, attacks it unguarded and guarded, tells the numbers, and takes it down again. Needs root.

  --json         end with the numbers as one JSON line
  --cni PLUGIN   bridge or ptp (bridge)
  --id ID        name of the lab, for whoever looks for what it leaves
`;
const FLAGS = {
  json: { type: 'boolean' },
  cni: { type: 'string' },
  id: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;
const say = (text: string) => process.stdout.write(`${text}\n`);

async function control(lab: Lab, cast: Cast) {
  say(`\nControl run: nothing is attached. ${cast.attacker.name} forges ${CONTROL_FRAMES} packets in the name of`);
  say(`${cast.claimed.name} and of the gateway, towards ${cast.victim.name}: IPv4, IPv6, ARP, neighbour discovery.`);
  const outcome = await controlRun(lab, cast, CONTROL_FRAMES);
  const kinds = Object.entries(outcome.landed).map(([vector, count]) => `${vector} ${count}`);
  say(`  ${outcome.landedTotal} of ${outcome.sent} landed (${kinds.join(', ')})`);
  return outcome;
}

async function guarded(lab: Lab, cast: Cast, signal: AbortSignal) {
  say('\nGuarded run: collectors attach to every pod interface; the same attack, until somebody stops it,');
  say('with ordinary traffic beside it.');
  await forgetNeighbours(lab);
  await lab.setGuarded(true, signal);
  const live = new LiveLine(process.stdout);
  const outcome = await chainRun(lab, cast, { onProgress: (progress) => live.show(progressText(progress)), signal });
  live.end();
  return outcome;
}

interface DemoOptions {
  json: boolean;
  cni: CniPlugin;
  id: string | undefined;
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<number> {
  await removeStaleLabs(say);
  const report = { onProgress: (text: string) => say(`  ${text}`), onProblem: (text: string) => say(`  ! ${text}`) };
  say('Bringing up a cluster: 2 nodes, 6 pods, real CNI plugins, NATS, Redis, a Kubernetes API.');
  await using lab = await startLab({
    id: options.id,
    cni: options.cni,
    unguarded: true,
    enforce: true,
    signal,
    ...report,
  });
  const cast = castOf(lab);
  const innocents = lab.pods().length - 1;
  const before = await control(lab, cast);
  const after = await guarded(lab, cast, signal);
  say('');
  say(summaryText(before, after, { attacker: cast.attacker.name, innocents }));
  const missed = shortfalls(before, after);
  for (const text of missed) say(`NOT AS PROMISED: ${text}`);
  say('Taking the cluster down.');
  await lab.stop();
  if (options.json) say(JSON.stringify(summarise(before, after)));
  return missed.length === 0 ? 0 : 1;
}

/** Null: help is asked for. @throws LabError LAB_USAGE */
function parseDemoArgs(argv: readonly string[]): DemoOptions | null {
  const { values, positionals } = parseFlags(argv, FLAGS, COMMAND_HELP);
  if (values.help) return null;
  const { json = false, id, cni = 'bridge' } = values;
  if (positionals.length > 0) throw wrongUse(`it takes no argument "${positionals[0]}"`, COMMAND_HELP);
  if (!(CNI_PLUGINS as readonly string[]).includes(cni))
    throw wrongUse(`--cni must be bridge or ptp, not "${cni}"`, COMMAND_HELP);
  if (id !== undefined && !isLabId(id)) throw wrongUse(`--id: "${id}" is not a lab's id`, COMMAND_HELP);
  return { json, cni: cni as CniPlugin, id };
}

async function run(argv: string[]): Promise<number> {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => controller.abort());
  try {
    const options = parseDemoArgs(argv);
    if (options) return await demo(options, controller.signal);
    process.stdout.write(USAGE);
    return 0;
  } catch (error) {
    if (controller.signal.aborted) {
      process.stderr.write('\ninterrupted; everything was removed\n');
      return 130;
    }
    const { text, exitCode } = tellError(error, COMMAND, debugWanted());
    process.stderr.write(`${text}\n`);
    return exitCode;
  }
}

process.exitCode = await run(process.argv.slice(2));
