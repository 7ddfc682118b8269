/**
 * `bailiff support-bundle`: one file for a bug report: versions, status, configuration, and in a cluster
 * the pods and logs of Bailiff. It reads no Secret, and removes text that looks like one (redact.ts). For
 * a part that cannot be read, the file has the error.
 */
import { rm } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { openBucket, storedConfig } from '@bailiff/bus';
import { readFacts } from '@bailiff/insight';
import type { Pod } from '@bailiff/kube';
import { judge, STALE_NODE_MS } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { type Cluster, containersOf, logOf, ownPods } from '../../shared/bus/own-pods.ts';
import { CliError } from '../../shared/errors.ts';
import { createFile } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import {
  busTimeoutOf,
  connectionOf,
  type Out,
  optionsOf,
  outOf,
  type Session,
  sessionOn,
  withBus,
  withBusOptions,
} from '../../shared/session.ts';
import { tar } from '../../shared/tar.ts';
import { safeJson } from '../../shared/text/clean.ts';
import { redact, redactValue } from './redact.ts';

const LOG_LINES = 2_000;
/** Longest name of a file in the archive, without its folder. */
const NAME_BYTES = 90;

const HELP = `
Examples:
  bailiff support-bundle                          bailiff-support-<time>.tar.gz in this directory
  bailiff support-bundle --out report.tar.gz
  tar xzOf report.tar.gz status.json | less       look at it before you send it

It contains names of nodes, namespaces and pods, the configuration with its authors and reasons, and logs. It
contains no Secret. Tokens, keys and passwords in logs and configuration are removed by the name of their
field and by their form; a password in a sentence is not found.

Exit codes: 0 complete; 7 written, but a part could not be read. If the API server of the cluster cannot be reached, or
the disk is full, it is 7 too, and no name of a file is printed: nothing is written.
`;

/** As JSON has it. */
const plain = (content: unknown): unknown => JSON.parse(JSON.stringify(content));

/** What a report needs of a pod, without its environment. */
const podState = ({ metadata, spec, status }: Pod) => ({
  name: metadata.name,
  node: spec?.nodeName,
  phase: status?.phase,
  conditions: status?.conditions?.map(({ type, status: is }) => `${type}=${is}`),
  containers: status?.containerStatuses?.map(({ name, ready, restartCount, image }) => ({
    name,
    ready,
    restartCount,
    image,
  })),
});

class Bundle {
  readonly files = new Map<string, string>();
  isComplete = true;
  readonly #out: Out;
  readonly #signal: AbortSignal;

  constructor(out: Out, signal: AbortSignal) {
    this.#out = out;
    this.#signal = signal;
  }

  /** Adds what `read` returns: text, or an object as JSON. */
  async add(name: string, read: () => Promise<unknown>): Promise<void> {
    this.#out.note(`reading ${name}`);
    let content: unknown;
    try {
      content = await read();
    } catch (error) {
      this.#signal.throwIfAborted();
      const { message } = error as Error;
      this.#out.note(`${name} cannot be read: ${message}`);
      content = { error: message };
      this.isComplete = false;
    }
    const isText = typeof content === 'string';
    this.files.set(name, isText ? redact(content as string) : `${safeJson(redactValue(plain(content)), 2)}\n`);
  }
}

async function addBus(bundle: Bundle, session: Session): Promise<void> {
  await bundle.add('status.json', async () => {
    const facts = await readFacts(session, STALE_NODE_MS);
    const { instances, services, deadLetters, certificates } = facts;
    return {
      ...judge(facts),
      instances,
      services,
      deadLetters,
      certificates,
      streams: Object.fromEntries(facts.streams),
    };
  });
  await bundle.add('config.json', async () =>
    (await openBucket(session.bus, 'bailiff_config').entries()).map((entry) => storedConfig(entry)),
  );
}

async function addCluster(bundle: Bundle, cluster: Cluster): Promise<void> {
  let pods: Pod[] = [];
  await bundle.add('pods.json', async () => {
    pods = await ownPods(cluster, null);
    return pods.map(podState);
  });
  for (const pod of pods) {
    for (const container of containersOf(pod)) {
      const { name } = pod.metadata;
      const range = { tail: LOG_LINES, sinceMs: null, previous: false };
      await bundle.add(`logs/${`${name}-${container}.log`.slice(-NAME_BYTES)}`, () =>
        logOf(cluster, name, container, range),
      );
    }
  }
}

/** Pods and logs also while the bus cannot be reached: then they are needed most. @throws CliError; KubeError */
async function collect(io: CliIo, command: Command, out: Out): Promise<Bundle> {
  const timeoutMs = busTimeoutOf(optionsOf(command));
  const connection = await connectionOf(io, command);
  if (connection.note) out.note(connection.note);
  const bundle = new Bundle(out, io.signal);
  const { installation } = connection;
  // First: the client of the cluster is closed with the bus.
  if (installation) await addCluster(bundle, { ...installation, signal: io.signal, timeoutMs });
  let natsServer: string | undefined;
  try {
    await withBus(io, connection, timeoutMs, (bus) => {
      natsServer = bus.nc.info?.version;
      return addBus(bundle, sessionOn(io, connection, bus, out));
    });
  } catch (error) {
    io.signal.throwIfAborted();
    if (error instanceof CliError && error.code !== 'CLI_BUS') throw error;
    await bundle.add('status.json', () => Promise.reject(error));
  }
  await bundle.add('version.json', async () => ({
    client: io.version,
    node: process.version,
    natsServer,
    selectedBy: connection.source,
  }));
  return bundle;
}

async function write(io: CliIo, command: Command, file: string): Promise<number> {
  const out = outOf(io, command);
  const { files, isComplete } = await collect(io, command, out);
  const handle = await createFile(file);
  try {
    await handle.writeFile(gzipSync(tar(files, io.nowMs())));
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  out.line(file);
  return isComplete ? EXIT.ok : EXIT.dependencyUnreachable;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('support-bundle')
    .description('one redacted file for a bug report: versions, status, configuration, pods and logs')
    .option('--out <file>', 'the file; it must not exist')
    .addHelpText('after', HELP);
  withBusOptions(command).action(async ({ out }: { out?: string }) => {
    const time = new Date(io.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    io.exitCode = await write(io, command, out ?? `bailiff-support-${time}.tar.gz`);
  });
}
