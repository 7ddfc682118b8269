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
import { containersOf, logOf, ownPods } from '../../shared/bus/own-pods.ts';
import { createFile } from '../../shared/files.ts';
import type { CliIo } from '../../shared/io.ts';
import { onBus, type Session } from '../../shared/session.ts';
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

Exit codes: 0 complete; 7 written, but a part could not be read.
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
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Adds what `read` returns: text, or an object as JSON. */
  async add(name: string, read: () => Promise<unknown>): Promise<void> {
    const { out, signal } = this.#session;
    out.note(`reading ${name}`);
    let content: unknown;
    try {
      content = await read();
    } catch (error) {
      signal.throwIfAborted();
      const { message } = error as Error;
      out.note(`${name} cannot be read: ${message}`);
      content = { error: message };
      this.isComplete = false;
    }
    const isText = typeof content === 'string';
    this.files.set(name, isText ? redact(content as string) : `${safeJson(redactValue(plain(content)), 2)}\n`);
  }
}

async function collect(session: Session): Promise<Bundle> {
  const { io, bus, connection } = session;
  const bundle = new Bundle(session);
  await bundle.add('version.json', async () => ({
    client: io.version,
    node: process.version,
    natsServer: bus.nc.info?.version,
    selectedBy: connection.source,
  }));
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
    (await openBucket(bus, 'bailiff_config').entries()).map((entry) => storedConfig(entry)),
  );
  const { installation } = connection;
  if (!installation) return bundle;
  const cluster = { ...installation, signal: io.signal, timeoutMs: bus.timeoutMs };
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
  return bundle;
}

async function write(session: Session, file: string): Promise<number> {
  const { files, isComplete } = await collect(session);
  const out = await createFile(file);
  try {
    await out.writeFile(gzipSync(tar(files, session.io.nowMs())));
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await out.close();
  }
  session.out.line(file);
  return isComplete ? EXIT.ok : EXIT.dependencyUnreachable;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('support-bundle')
    .description('one redacted file for a bug report: versions, status, configuration, pods and logs')
    .option('--out <file>', 'the file; it must not exist')
    .addHelpText('after', HELP);
  onBus(command, io, ({ out }: { out?: string }) => {
    const time = new Date(io.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    return (session) => write(session, out ?? `bailiff-support-${time}.tar.gz`);
  });
}
