/**
 * `bailiff lab …`: parses the command line and reports. `up` runs the lab in this process. `up
 * --detach` starts a second process that runs it, and returns when that is ready. SIGINT, SIGTERM
 * and SIGHUP remove the lab first.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync } from 'node:fs';
import path from 'node:path';
import { fullName, runManualAttack } from './attack/manual-attack.ts';
import { type LabRequest, optionFlags, parseLabArgs, USAGE } from './command/args.ts';
import { attackReport, listReport, upReport } from './command/report.ts';
import { debugWanted, LabError, reportError } from './errors.ts';
import { LABS_DIR, newLabId } from './names.ts';
import { lastLines, unlinkedFile } from './process/unlinked-file.ts';
import { notFound, removeStaleLabs, takeDownLabs } from './state/retire.ts';
import { type LabInfo, listLabs } from './state/state.ts';
import type { BringUp } from './supervisor/bring-up.ts';
import { terminalWidth } from './text.ts';

type UpRequest = Extract<LabRequest, { options: unknown }>;
type AttackRequest = Extract<LabRequest, { command: 'attack' }>;
type KnownRequest = Extract<LabRequest, { command: 'list' | 'info' }>;

/** Messages of the supervising process to its parent. */
type Message =
  | { type: 'progress'; text: string }
  | { type: 'problem'; text: string }
  | { type: 'ready'; info: LabInfo }
  | { type: 'failed'; text: string; exitCode: number };

const COMMAND = 'bailiff lab';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const print = (text: string) => process.stderr.write(`${text}\n`);
/** Takes three seconds to load from the sources, and most commands do not need it. */
const supervisor = () => import('./supervisor/bring-up.ts');

/** Aborts at the first signal. Further signals have no effect, because the removal already runs. */
function stopSignal(): { signal: AbortSignal; stopped: Promise<void> } {
  const controller = new AbortController();
  const stopped = new Promise<void>((resolve) => {
    for (const name of SIGNALS) {
      process.on(name, () => {
        controller.abort();
        resolve();
      });
    }
  });
  return { signal: controller.signal, stopped };
}

function printInfo(info: LabInfo, request: UpRequest, detached: boolean): void {
  process.stdout.write(
    request.json ? `${JSON.stringify(info)}\n` : upReport(info, request.options, detached, terminalWidth()),
  );
}

async function upHere(request: UpRequest): Promise<number> {
  const { signal, stopped } = stopSignal();
  const { startLab } = await supervisor();
  await removeStaleLabs(print);
  const hooks: BringUp = { onProgress: print, onProblem: (text) => print(`! ${text}`), signal };
  const lab = await startLab({ ...request.options, id: request.id, ...hooks });
  printInfo(lab.info(), request, false);
  await stopped;
  print('taking the lab down');
  await lab.stop();
  return 0;
}

/**
 * The detached process of `up --detach`. It has no terminal; it reports to its parent and its log.
 */
async function supervise(request: UpRequest): Promise<number> {
  // After startup, because Node's preloads may be relative to the first working directory. Then no
  // directory is kept busy.
  process.chdir('/');
  const { signal, stopped } = stopSignal();
  const id = request.id ?? newLabId();
  process.on('uncaughtExceptionMonitor', (error) => {
    appendFileSync(path.join(LABS_DIR, id, 'logs', 'lab.log'), `${error.stack}\n`);
  });
  const send = (message: Message) => {
    // The parent exits once the lab is ready, and may be killed before.
    if (process.connected) process.send?.(message, () => undefined);
  };
  try {
    const { startLab } = await supervisor();
    const lab = await startLab({
      ...request.options,
      id,
      signal,
      onProgress: (text) => send({ type: 'progress', text }),
      onProblem: (text) => send({ type: 'problem', text }),
    });
    send({ type: 'ready', info: lab.info() });
    await stopped;
    await lab.stop();
    return 0;
  } catch (error) {
    const { text, exitCode } = reportError(error, COMMAND, debugWanted());
    send({ type: 'failed', text, exitCode });
    return exitCode;
  } finally {
    if (process.connected) process.disconnect();
  }
}

async function upDetached(request: UpRequest): Promise<number> {
  const { signal } = stopSignal();
  await removeStaleLabs(print);
  const args = [import.meta.filename, 'supervise', ...optionFlags(request.options), '--lab', request.id ?? newLabId()];
  const output = unlinkedFile();
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    stdio: ['ignore', 'ignore', output, 'ipc'],
    detached: true,
  });
  signal.addEventListener('abort', () => child.kill('SIGTERM'));
  const outcome = new Promise<number>((resolve) => {
    let reported = false;
    child.on('message', (message: Message) => {
      if (message.type === 'progress') print(message.text);
      else if (message.type === 'problem') print(`! ${message.text}`);
      else if (message.type === 'failed') {
        reported = true;
        print(message.text);
        resolve(message.exitCode);
      } else {
        reported = true;
        printInfo(message.info, request, true);
        resolve(0);
      }
    });
    // All messages have arrived when the channel is closed; the process may have ended without any.
    void Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(([[code, name]]) => {
      const how = `${COMMAND}: the supervisor ended with ${name ?? code}`;
      if (!reported) print(how + lastLines(output));
      resolve((code as number | null) ?? 1);
    });
  });
  const exitCode = await outcome;
  closeSync(output);
  if (exitCode === 0 && !signal.aborted) {
    child.disconnect();
    child.unref();
    return 0;
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return exitCode;
}

async function labInfoOf(id: string | undefined): Promise<LabInfo> {
  const lab = (await listLabs()).find((each) => each.state?.info && (id === undefined || each.id === id));
  if (!lab?.state?.info) throw notFound(id);
  return lab.state.info;
}

async function attack(request: AttackRequest): Promise<number> {
  const info = await labInfoOf(request.id);
  if (process.getuid?.() !== 0) throw new LabError('LAB_NOT_ROOT', "a pod's network namespace is entered by root");
  const outcome = await runManualAttack(info, request);
  const { attacker, victim, ...numbers } = outcome;
  const json = () => JSON.stringify({ attacker: fullName(attacker), victim: fullName(victim), ...numbers });
  process.stdout.write(request.json ? `${json()}\n` : attackReport(outcome));
  return 0;
}

async function printKnown(request: KnownRequest): Promise<number> {
  if (request.command === 'list') {
    const labs = await listLabs();
    process.stdout.write(request.json ? `${JSON.stringify(labs)}\n` : listReport(labs));
    return 0;
  }
  process.stdout.write(`${JSON.stringify(await labInfoOf(request.id))}\n`);
  return 0;
}

async function run(argv: readonly string[]): Promise<number> {
  try {
    const request = parseLabArgs(argv);
    if (request.command === 'help') {
      process.stdout.write(USAGE);
      return 0;
    }
    if (request.command === 'down') return await takeDownLabs(request, print);
    if (request.command === 'attack') return await attack(request);
    if (!('options' in request)) return await printKnown(request);
    if (request.command === 'supervise') return await supervise(request);
    return await (request.detach ? upDetached(request) : upHere(request));
  } catch (error) {
    const { text, exitCode } = reportError(error, COMMAND, debugWanted());
    print(text);
    return exitCode;
  }
}

process.exitCode = await run(process.argv.slice(2));
