/** `npm run live`: the suite for any cluster. docs/conformance.md describes it. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { type KubeList, loadKube } from '@bailiff/kube';
import { BusCredentials } from './bus/credentials.ts';
import { BusWatch, openBus } from './bus/watch.ts';
import { type Access, preflight } from './cluster/facts.ts';
import { Kubectl, PortForward } from './cluster/kubectl.ts';
import { RUN_LABEL, Stage } from './cluster/stage.ts';
import { HELP, type Options, readFlags } from './flags.ts';
import { install } from './install/install.ts';
import { renderFacts, renderJson, renderJunit, renderTable } from './report/render.ts';
import { summaryOf } from './report/result.ts';
import { SCENARIOS } from './scenarios/index.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { selectScenarios } from './selection.ts';
import { runScenarios } from './suite.ts';

const EXIT = { ok: 0, failed: 1, usage: 2, notReady: 7 } as const;
const NATS_PORT = 4222;

const log = (text: string) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);

async function mayTouch(options: Options, what: string): Promise<boolean> {
  if (options.yes) return true;
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${what} Continue? [y/N] `);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

function notConfirmed(): number {
  log('not confirmed: nothing was changed. Answer with y, or use --yes');
  return EXIT.usage;
}

async function run(options: Options, scenarios: readonly Scenario[]): Promise<number> {
  const kube = loadKube({ kubeconfig: options.kubeconfig, context: options.context, userAgent: 'bailiff-live' });
  const access: Access = { kube, kubectl: new Kubectl(options.kubeconfig, options.context), options };
  try {
    const { items } = await kube.request<KubeList>({ path: '/api/v1/nodes' });
    const nodes = items?.length ?? 0;
    if (options.install) {
      if (!(await mayTouch(options, `Install Bailiff on ${nodes} nodes of ${options.kubeconfig}.`)))
        return notConfirmed();
      log(`installed; everything ready after ${((await install(access, nodes)) / 1000).toFixed(1)} s`);
    }
    const { facts, problems } = await preflight(access);
    process.stdout.write(renderFacts(facts));
    if (problems.length > 0) {
      for (const problem of problems) log(`preflight: ${problem}`);
      return EXIT.notReady;
    }
    const what = `The suite leaves node ${facts.node} of ${facts.server} unguarded for its control runs and restarts parts of Bailiff.`;
    if (!(await mayTouch(options, what))) return notConfirmed();
    const since = Date.now();
    await using forward = await PortForward.open(access.kubectl, options.namespace, 'svc/bailiff-nats', NATS_PORT);
    using credentials = await BusCredentials.read(access);
    const busUrl = `tls://127.0.0.1:${forward.port}`;
    const { caFile, passwordFile } = credentials;
    const busFlags = ['--nats-url', busUrl, '--nats-ca-file', caFile, '--nats-password-file', passwordFile];
    await using watch = new BusWatch(await openBus(credentials, busUrl), since);
    const stage = new Stage(access, randomBytes(3).toString('hex'), facts.node);
    try {
      const live = { ...access, watch, stage, busFlags, node: facts.node, log, sent: new Map<string, number>() };
      const results = await runScenarios(live, scenarios);
      process.stdout.write(`\n${renderTable(results)}`);
      if (options.reportDir) {
        mkdirSync(options.reportDir, { recursive: true });
        writeFileSync(path.join(options.reportDir, 'report.json'), renderJson(results, facts));
        writeFileSync(path.join(options.reportDir, 'junit.xml'), renderJunit(results, facts));
      }
      return summaryOf(results).failed > 0 ? EXIT.failed : EXIT.ok;
    } finally {
      // The results are printed by now; what could not be removed is named.
      await stage.remove().catch((error: Error) => {
        log(`clean-up: ${error.message}; remove what has the label ${RUN_LABEL}=${stage.run}`);
      });
    }
  } finally {
    kube.close();
  }
}

async function main(): Promise<number> {
  let options: Options;
  let scenarios: Scenario[];
  try {
    options = readFlags(process.argv.slice(2));
    // Nothing is removed without the flag.
    const known = SCENARIOS.filter(({ name }) => name !== 'uninstall' || options.uninstall || options.list);
    scenarios = selectScenarios(known, options.only);
    if (options.uninstall && !scenarios.some(({ name }) => name === 'uninstall'))
      scenarios.push(...known.filter(({ name }) => name === 'uninstall'));
  } catch (error) {
    process.stderr.write(`npm run live: ${(error as Error).message}\n(npm run live -- --help shows how it is used)\n`);
    return EXIT.usage;
  }
  if (options.help) process.stdout.write(HELP);
  else if (options.list) for (const { name, about } of scenarios) process.stdout.write(`${name}  ${about}\n`);
  else return run(options, scenarios);
  return EXIT.ok;
}

process.exitCode = await main().catch((error: Error) => {
  log(`the run ended early: ${error.stack ?? error.message}`);
  return EXIT.failed;
});
