/**
 * The environment of a test run: what the caller's shell holds (a kubeconfig, a proxy, a bus, a language, a zone of time, a umask, what is
 * in the home directory) decides no test. vitest.config.ts calls `begin` before any worker starts, so all workers and their children have it.
 *
 * A list of what stays, not of what goes: what a program reads that some test starts, nobody can list.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { chooseServer } from './nats-server.ts';

/** Where programs and their libraries are, what vitest reads itself, and what CONTRIBUTING.md tells a person to set. */
const KEPT =
  /^(PATH|LD_LIBRARY_PATH|CI|NODE_ENV|TEST|VITEST\w*|KUBEBUILDER_ASSETS|FUZZ_RUNS|BAILIFF_(NATS|REPORT|SEED|STRESS_SEED|FUZZ_RUNS|FUZZ_BULK|VM_\w+))$/;
/** With one of these the run reaches what is not its own (a cluster, a container engine, a mirror), with whatever that asks for. */
const REACHES_OUT = ['BAILIFF_CONTRACT', 'BAILIFF_IMAGES', 'BAILIFF_VM_KERNEL'];
/** Not /etc/localtime's, and files of tests are readable for those that they run as nobody. */
const ZONE = 'UTC';
const UMASK = 0o022;

type Environment = Readonly<Record<string, string | undefined>>;

/** What of the caller's environment a run begins with. @param home an empty directory */
export function environmentOf(callers: Environment, home: string): Record<string, string> {
  const reachesOut = REACHES_OUT.some((name) => callers[name]);
  const kept = Object.entries(callers).flatMap(([name, value]) =>
    value !== undefined && (reachesOut || KEPT.test(name)) ? [[name, value] as const] : [],
  );
  return { HOME: home, ...Object.fromEntries(kept), TZ: ZONE };
}

/** Gives this process that environment, once; its home directory goes when the process ends. */
export function begin(): void {
  // Short: sockets below it have 107 bytes for their name. TMPDIR is not kept either.
  const home = mkdtempSync(path.join('/tmp', 'bailiff-home-'));
  process.once('exit', () => rmSync(home, { recursive: true, force: true }));
  const kept = environmentOf(process.env, home);
  for (const name of Object.keys(process.env)) if (!(name in kept)) delete process.env[name];
  Object.assign(process.env, kept);
  chooseServer(process.env);
  process.umask(UMASK);
}
