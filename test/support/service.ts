/**
 * Runs an app inside the test's process, with the same service frame as in a process of its own.
 */
import { runService, type ServiceOptions } from '@bailiff/service';
import { captureIo, waitFor } from '@bailiff/service/testing';
import type { z } from 'zod';
import type { LogLine } from './process.ts';

export interface RunningService {
  log(): LogLine[];
  stderr(): string;
  /** Value of a metric. The name has its labels but no `bailiff_<app>_` prefix. */
  metric(name: string): Promise<number>;
  ready(): Promise<{ ok: boolean; checks: Record<string, string> }>;
  /**
   * Resolves when the app has logged that it is ready, or with `started` when it listens for
   * probes.
   */
  until(state: 'ready' | 'started'): Promise<void>;
  /** Stops the app as SIGTERM does. @returns the exit code */
  stop(): Promise<number>;
}

/** Apps of one test. Disposal stops the apps that still run. */
export class Services implements AsyncDisposable {
  readonly #running = new Set<RunningService>();

  get running(): RunningService[] {
    return [...this.#running];
  }

  /** Starts an app without waiting. */
  begin<S extends z.ZodObject>(options: Omit<ServiceOptions<S>, 'io'>): RunningService {
    const captured = captureIo();
    let metricsAddress = '';
    let probeAddress = '';
    const exit = runService({
      ...options,
      io: captured.io,
      start: (ctx) => {
        ({ metricsAddress, probeAddress } = ctx);
        return options.start(ctx);
      },
    });
    const fetchText = async (url: string) => (await fetch(`http://${url}`)).text();
    const prefix = `bailiff_${options.name.replaceAll('-', '_')}_`;
    const service: RunningService = {
      log: captured.logLines,
      stderr: captured.stderr,
      metric: async (name) => {
        const line = (await fetchText(`${metricsAddress}/metrics`))
          .split('\n')
          .find((text) => text.startsWith(`${prefix}${name} `));
        return Number(line?.split(' ').at(-1) ?? Number.NaN);
      },
      ready: async () => JSON.parse(await fetchText(`${probeAddress}/readyz`)),
      until: async (state) => {
        const isReady = () => captured.logLines().some(({ msg }) => msg === 'ready');
        await waitFor(() => (state === 'started' ? probeAddress !== '' : isReady()), {
          what: `${options.name} to be ${state}`,
          state: () => [captured.stderr(), captured.logLines().slice(-10)],
        });
      },
      stop: () => {
        this.#running.delete(service);
        captured.signal('SIGTERM');
        return exit;
      },
    };
    this.#running.add(service);
    return service;
  }

  /** Starts an app and resolves when it is ready. */
  async start<S extends z.ZodObject>(options: Omit<ServiceOptions<S>, 'io'>): Promise<RunningService> {
    const service = this.begin(options);
    await service.until('ready');
    return service;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.running.map((service) => service.stop()));
  }
}
