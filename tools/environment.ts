/**
 * Environment of a test run, independent of the caller's shell (kubeconfig, proxy, bus, language,
 * time zone, umask, home directory). vitest.config.ts calls `begin` before it starts workers, so
 * workers and their children inherit it. An allow-list, because programs read an unknown set of
 * variables.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { chooseClock } from './clock/ahead.ts';
import { chooseServer } from './nats-server.ts';

/**
 * Locations of programs and libraries, variables of vitest, and variables that CONTRIBUTING.md
 * documents.
 */
const KEPT =
  /^(PATH|LD_LIBRARY_PATH|CI|NODE_ENV|TEST|VITEST\w*|KUBEBUILDER_ASSETS|FUZZ_RUNS|BAILIFF_(AHEAD|NATS|REPORT|SCREENSHOTS|SEED|STRESS_SEED|FUZZ_RUNS|FUZZ_BULK|LSM_OPERATIONS|RACE_FRAMES|EVIDENCE_RUNS|DELIVERY_VERDICTS|SIMULATE_OPERATIONS|VM_\w+))$/;
/**
 * With one of these the run uses external systems (a cluster, a container engine, a mirror), which
 * may need any variable.
 */
const REACHES_OUT = ['BAILIFF_CONTRACT', 'BAILIFF_IMAGES', 'BAILIFF_VM_KERNEL'];
/** Overrides /etc/localtime. Test files are readable for children that run as the user nobody. */
const ZONE = 'UTC';
const UMASK = 0o022;

type Environment = Readonly<Record<string, string | undefined>>;

/** The caller's variables that a run keeps. @param home an empty directory */
export function environmentOf(callers: Environment, home: string): Record<string, string> {
  const reachesOut = REACHES_OUT.some((name) => callers[name]);
  const kept = Object.entries(callers).flatMap(([name, value]) =>
    value !== undefined && (reachesOut || KEPT.test(name)) ? [[name, value] as const] : [],
  );
  return { HOME: home, ...Object.fromEntries(kept), TZ: ZONE };
}

/** Applies the environment to this process, once; its home directory is removed at exit. */
export function begin(): void {
  // Short, because socket paths have at most 107 bytes. TMPDIR is not kept either.
  const home = mkdtempSync(path.join('/tmp', 'bailiff-home-'));
  process.once('exit', () => rmSync(home, { recursive: true, force: true }));
  const kept = environmentOf(process.env, home);
  for (const name of Object.keys(process.env)) if (!(name in kept)) delete process.env[name];
  Object.assign(process.env, kept);
  chooseServer(process.env);
  chooseClock(process.env);
  process.umask(UMASK);
}
