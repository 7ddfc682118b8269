/** `bailiff logs`: the logs of all parts of Bailiff in a cluster, read with the rights of the user. */
import { KubeError } from '@bailiff/kube';
import type { Command } from 'commander';
import { parseSpan, wholeNumber } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { clusterOf, Out, withBusOptions } from '../shared/session.ts';
import { logOf, ownPods } from './pods.ts';

const MAX_LINES = 10_000;

const HELP = `
Examples:
  bailiff logs                       the newest lines of every part
  bailiff logs correlator --since 10m
  bailiff logs collector --previous  of collectors that restarted

Parts: collector, correlator, responder, ipam-sync, siem-relay, bus-auth, bus-setup, nats, valkey.
Each line begins with its pod and container. kubectl logs -f follows one.
`;

interface Options {
  tail: string;
  since?: string;
  previous?: boolean;
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
    const cluster = { client, namespace, signal: io.signal };
    const out = new Out(io);
    io.endWithReader();
    try {
      const pods = await ownPods(cluster, part ?? null);
      if (pods.length === 0) out.note(`namespace ${namespace} has no pods of ${part ?? 'Bailiff'}`);
      for (const pod of pods) {
        for (const { name } of pod.spec?.containers ?? []) {
          const from = `${pod.metadata.name} ${name}`;
          try {
            const text = await logOf(cluster, pod.metadata.name, name, range);
            out.lines(
              text
                .split('\n')
                .filter((line) => line !== '')
                .map((line) => `${from}: ${line}`),
            );
          } catch (error) {
            // This container does not run, or has no previous run. Others have logs.
            if (!(error instanceof KubeError) || error.code !== 'KUBE_INVALID') throw error;
            out.note(`${from}: ${error.message}`);
          }
        }
      }
    } finally {
      client.close();
    }
  });
}
