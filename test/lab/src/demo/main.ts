/**
 * `npm run demo`. First part: one attack twice. Without attached programs the forged packets land;
 * then collectors guard every interface, and the same attack is dropped, counted, judged and
 * answered. Second part: an escape from a container in the virtual machine, without and with a
 * policy.
 *
 * `--json` adds the summary as the last line. Exit code 0 requires every expected number. A second
 * part that this machine cannot run is reported and no failure, unless only it was requested (3).
 * Nothing is left, even after Ctrl-C.
 */
import { type Cast, castOf, chainRun, controlRun, forgetNeighbours } from '../attack/chain.ts';
import { debugWanted, LabError, reportError } from '../errors.ts';
import { removeStaleLabs } from '../state/retire.ts';
import { startLab } from '../supervisor/bring-up.ts';
import type { Lab } from '../supervisor/lab.ts';
import { escapeAct } from './escape-act.ts';
import { type EscapeOutcome, escapeShortfalls, escapeText, isSkipped, type Skipped } from './escape-summary.ts';
import { LiveLine } from './live-line.ts';
import { COMMAND, type DemoOptions, parseDemoArgs, USAGE } from './options.ts';
import { type NetworkOutcome, progressText, shortfalls, summarise, summaryText } from './summary.ts';

const CONTROL_FRAMES = 200;
const say = (text: string) => process.stdout.write(`${text}\n`);

async function control(lab: Lab, cast: Cast) {
  say(`\nControl run: nothing is attached. ${cast.attacker.name} forges ${CONTROL_FRAMES} packets`);
  say(`with the identity of ${cast.claimed.name} and of the gateway,`);
  say(`towards ${cast.victim.name}: IPv4, IPv6, ARP, neighbour discovery.`);
  const outcome = await controlRun(lab, cast, CONTROL_FRAMES);
  const kinds = Object.entries(outcome.landed).map(([vector, count]) => `${vector} ${count}`);
  say(`  ${outcome.landedTotal} of ${outcome.sent} landed (${kinds.join(', ')})`);
  return outcome;
}

async function guarded(lab: Lab, cast: Cast, signal: AbortSignal) {
  say('\nGuarded run: collectors attach to every pod interface; the same attack, until');
  say('a response stops it, with ordinary traffic beside it.');
  await forgetNeighbours(lab);
  await lab.setGuarded(true, signal);
  const live = new LiveLine(process.stdout);
  const outcome = await chainRun(lab, cast, { onProgress: (progress) => live.show(progressText(progress)), signal });
  live.end();
  return outcome;
}

async function networkAct(options: DemoOptions, signal: AbortSignal): Promise<NetworkOutcome> {
  await removeStaleLabs(say);
  const report = { onProgress: (text: string) => say(`  ${text}`), onProblem: (text: string) => say(`  ! ${text}`) };
  say('First act, about half a minute: packets with forged identities.');
  say('Bringing up a cluster: 2 nodes, 6 pods, real CNI plugins, NATS, Redis,');
  say('a Kubernetes API.');
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
  say('Taking the cluster down.');
  await lab.stop();
  return { control: before, guarded: after, attacker: cast.attacker.name, innocents };
}

/** A failure of the virtual machine is reported in addition to the first part's result. */
async function runtimeAct(signal: AbortSignal, missed: string[]): Promise<EscapeOutcome | Skipped> {
  say('\nSecond act, one to two minutes (--act 1 leaves it out): an escape from a');
  say('container. In a virtual machine, because it lands in the control run: a stock');
  say('kernel with BPF-LSM, emulated.');
  try {
    const act = await escapeAct({ say, live: new LiveLine(process.stdout), signal });
    if (isSkipped(act)) say(`  skipped: ${act.skipped}`);
    return act;
  } catch (error) {
    if (signal.aborted) throw error;
    const { text } = reportError(error, COMMAND, debugWanted());
    missed.push(`the second act failed: ${text}`);
    return { skipped: 'it failed' };
  }
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<number> {
  const network = options.act === 2 ? null : await networkAct(options, signal);
  if (signal.aborted) throw new LabError('LAB_INTERRUPTED', 'interrupted');
  const missed = network ? shortfalls(network.control, network.guarded) : [];
  const runtime = options.act === 1 ? { skipped: 'not requested (--act 1)' } : await runtimeAct(signal, missed);
  missed.push(...escapeShortfalls(runtime));
  say('');
  if (network) say(`Packets with forged identities\n\n${summaryText(network)}`);
  if (options.act !== 1) {
    const where = isSkipped(runtime) ? '' : ` (in a virtual machine, Linux ${runtime.kernel})`;
    say(`Escape from a container${where}\n\n${escapeText(runtime)}\n`);
  }
  for (const text of missed) say(`NOT AS EXPECTED: ${text}`);
  if (options.json) say(JSON.stringify(summarise(network, runtime)));
  if (missed.length > 0) return 1;
  return options.act === 2 && isSkipped(runtime) ? 3 : 0;
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
    const { text, exitCode } = reportError(error, COMMAND, debugWanted());
    process.stderr.write(`${text}\n`);
    return exitCode;
  }
}

process.exitCode = await run(process.argv.slice(2));
