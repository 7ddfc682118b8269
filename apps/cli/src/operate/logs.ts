/** `bailiff logs`: the logs of all parts of Bailiff in a cluster, by the user's rights there. */
import { KubeError, type Pod } from '@bailiff/kube';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import { parseSpan, wholeNumber } from '../shared/arguments.ts';
import { type Cluster, containersOf, type LogRange, logOf, ownPods } from '../shared/bus/own-pods.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { busTimeoutOf, clusterOf, Out, optionsOf, withBusOptions } from '../shared/session.ts';

const MAX_LINES = 10_000;

const HELP = `
Examples:
  bailiff logs                       the newest lines of every part
  bailiff logs correlator --since 10m
  bailiff logs collector --previous  of collectors that restarted

Parts: collector, correlator, responder, ipam-sync, siem-relay, evidence-log, console, bus-auth, bus-setup, nats,
valkey.
Each line begins with its pod and container. kubectl logs -f follows one.

Exit codes: 0 complete; 7 a log could not be read, such as of a node that is down.
`;

interface Options {
  tail: string;
  since?: string;
  previous?: boolean;
}

/** Of one container: others may have logs. An API server that refuses or is gone has none. */
const OF_ONE: ReadonlySet<string> = new Set(['KUBE_INVALID', 'KUBE_NOT_FOUND', 'KUBE_SERVER', 'KUBE_TIMEOUT']);
/** Not running, or never run before: there is no log to miss. */
const NO_LOG: ReadonlySet<string> = new Set(['KUBE_INVALID', 'KUBE_NOT_FOUND']);

/** @returns whether every log was read. @throws KubeError */
async function print(out: Out, cluster: Cluster, pods: readonly Pod[], range: LogRange): Promise<boolean> {
  let isComplete = true;
  for (const pod of pods) {
    for (const container of containersOf(pod)) {
      const from = `${pod.metadata.name} ${container}`;
      try {
        const lines = (await logOf(cluster, pod.metadata.name, container, range)).split('\n');
        out.lines(lines.filter((line) => line !== '').map((line) => `${from}: ${line}`));
      } catch (error) {
        if (!(error instanceof KubeError && OF_ONE.has(error.code))) throw error;
        out.note(`${from}: ${error.message}`);
        isComplete &&= NO_LOG.has(error.code);
      }
    }
  }
  return isComplete;
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('logs')
    .description('logs of all parts of Bailiff in the cluster')
    .argument('[part]', 'one part')
    .option('--tail <lines>', 'newest lines of each container', '100')
    .option('--since <duration>', 'not older than this, such as 10m')
    .option('--previous', 'of containers before their last restart')
    .addHelpText('after', HELP);
  withBusOptions(command).action(async (part: string | undefined, options: Options) => {
    const range = {
      tail: wholeNumber(options.tail, '--tail', 1, MAX_LINES),
      sinceMs: options.since === undefined ? null : parseSpan(options.since, '--since'),
      previous: options.previous ?? false,
    };
    const found = await clusterOf(io, command);
    if (!found) {
      throw new CliError('CLI_CONTEXT', 'logs are read from a cluster, and another bus is selected', {
        remedy: 'pass --context with a context of your kubeconfig',
      });
    }
    const { client, namespace } = found;
    const timeoutMs = busTimeoutOf(optionsOf(command));
    const cluster = { client, namespace, signal: io.signal, timeoutMs };
    const out = new Out(io);
    io.endWithReader();
    try {
      const pods = await ownPods(cluster, part ?? null);
      if (pods.length === 0) out.note(`namespace ${namespace} has no pods of ${part ?? 'Bailiff'}`);
      io.exitCode = (await print(out, cluster, pods, range)) ? EXIT.ok : EXIT.dependencyUnreachable;
    } finally {
      client.close();
    }
  });
}
