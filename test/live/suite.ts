/** Runs the selected scenarios: one detached phase with all controls, then the guarded runs. */
import { collectorOf, untilGuarded, whileDetached } from './cluster/guard.ts';
import type { Result } from './report/result.ts';
import type { Live, Scenario } from './scenarios/scenario.ts';

const failed = (scenario: string, error: unknown, beginMs: number): Result => ({
  scenario,
  status: 'failed',
  detail: error instanceof Error ? (error.message.split('\n')[0] as string) : String(error),
  counts: [],
  measured: {},
  seconds: (performance.now() - beginMs) / 1000,
});

/** Runs all scenarios; a failure of one does not end the others. */
export async function runScenarios(live: Live, scenarios: readonly Scenario[]): Promise<Result[]> {
  const broken = new Map<string, Result>();
  const attempt = async <T>({ name }: Scenario, work: () => Promise<T>): Promise<T | undefined> => {
    const begin = performance.now();
    try {
      return broken.has(name) ? undefined : await work();
    } catch (error) {
      live.log(`${name}: ${(error as Error).stack}`);
      broken.set(name, failed(name, error, begin));
      return undefined;
    }
  };
  const uids = new Set<string>();
  for (const scenario of scenarios)
    for (const uid of (await attempt(scenario, async () => scenario.prepare?.(live))) ?? []) uids.add(uid);
  let attachedAfter = 0;
  const withControl = scenarios.filter(({ control }) => control);
  if (withControl.length > 0) {
    live.log(`${live.node}: detach ${await collectorOf(live, live.node)} for ${withControl.length} control runs`);
    await untilGuarded(live.watch, live.node, [...uids]);
    attachedAfter = await whileDetached(live, live.node, async () => {
      for (const scenario of withControl) await attempt(scenario, async () => scenario.control?.(live));
    });
    live.log(`${live.node}: attached`);
  }
  const begin = performance.now();
  await untilGuarded(live.watch, live.node, [...uids], attachedAfter);
  if (attachedAfter > 0) live.log(`${live.node}: guarded ${((performance.now() - begin) / 1000).toFixed(1)} s later`);
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const started = performance.now();
    const outcome = await attempt(scenario, () => scenario.run(live));
    const seconds = (performance.now() - started) / 1000;
    const result = broken.get(scenario.name) ?? {
      counts: [],
      measured: {},
      scenario: scenario.name,
      seconds,
      ...(outcome as NonNullable<typeof outcome>),
    };
    results.push(result);
    live.log(`${result.status} ${scenario.name}: ${result.detail}`);
  }
  return results;
}
