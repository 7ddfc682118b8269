/**
 * Selects the bus and the identity on it, from flags, environment, context file, labs and kubeconfig.
 * Pure.
 *
 * Precedence: flags > --lab > BAILIFF_NATS_* > context file. Without any of them, the only lab that
 * is up is used, or the lab whose kubeconfig is KUBECONFIG, with a note; then the cluster of the
 * kubeconfig's current context, with a note. --context and --kubeconfig select a cluster; a kubectl
 * plugin acts on kubectl's cluster, so only flags and BAILIFF_NATS_* precede it. Nothing else is
 * guessed: a command that disarms must not reach the wrong bus.
 */
import path from 'node:path';
import * as z from 'zod';
import { CliError } from '../errors.ts';
import type { ClusterChoice, Installation } from './installation.ts';
import type { RunningLab } from './labs.ts';

const KEYS = ['natsUrl', 'natsUser', 'natsPasswordFile', 'natsCaFile', 'natsCertFile', 'natsKeyFile'] as const;
export type BusFlags = { [K in (typeof KEYS)[number]]?: string };

export interface ConnectionSources {
  flags: BusFlags;
  env: Readonly<Record<string, string | undefined>>;
  /** Value of --lab. */
  lab?: string | undefined;
  /** Null without a context file. */
  context: { path: string; text: string } | null;
  labs: readonly RunningLab[];
  /** Of --kubeconfig, --context and --bailiff-namespace. */
  cluster?: { kubeconfig?: string; context?: string; namespace?: string };
  /** Whether kubectl has a kubeconfig by default. */
  hasKubeconfig?: boolean;
  /** Started as `kubectl bailiff`. */
  asPlugin?: boolean;
}

export interface Connection extends Required<BusFlags> {
  /** What named the bus, for messages: `--nats-url`, `BAILIFF_NATS_URL`, `lab k3x9a`, or a path. */
  source: string;
  /** For stderr; empty if there is nothing to note. */
  note: string;
  lab: RunningLab | null;
  /** The cluster whose bus it is; `natsUrl` is then empty until the installation is found. */
  cluster: ClusterChoice | null;
  installation: Installation | null;
}

export const DEFAULT_USER = 'cli';

const contextSchema = z.strictObject(
  Object.fromEntries(KEYS.map((key) => [key, z.string().min(1).optional()])) as Record<
    keyof BusFlags,
    z.ZodOptional<z.ZodString>
  >,
);

/** `natsPasswordFile` → `BAILIFF_NATS_PASSWORD_FILE` */
export function envNameOf(key: (typeof KEYS)[number]): string {
  return `BAILIFF_${key.replaceAll(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`;
}

/** Path of the context file. BAILIFF_CONTEXT and XDG_CONFIG_HOME override it. */
export function contextPath(env: ConnectionSources['env'], home: string): string {
  if (env['BAILIFF_CONTEXT']) return env['BAILIFF_CONTEXT'];
  return path.join(env['XDG_CONFIG_HOME'] || path.join(home, '.config'), 'bailiff', 'context.json');
}

/** Parses a context file. Paths in it are relative to the file. @throws CliError CLI_CONTEXT */
export function parseContext(file: { path: string; text: string }): BusFlags {
  let raw: unknown;
  try {
    raw = JSON.parse(file.text);
  } catch (cause) {
    throw new CliError('CLI_CONTEXT', `${file.path}: not JSON: ${(cause as Error).message}`, { cause });
  }
  const { data, error } = contextSchema.safeParse(raw);
  if (error) {
    const lines = error.issues.map((issue) => {
      const where = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : issue.path.join('.');
      return `${where || '(whole file)'}: ${issue.message}`;
    });
    throw new CliError('CLI_CONTEXT', `${file.path}: refused\n${lines.join('\n')}`, {
      remedy: `valid fields: ${KEYS.join(', ')}`,
    });
  }
  const resolved: BusFlags = {};
  for (const key of KEYS) {
    const value = data[key];
    if (value !== undefined)
      resolved[key] = key.endsWith('File') ? path.resolve(path.dirname(file.path), value) : value;
  }
  return resolved;
}

function fromEnv(env: ConnectionSources['env']): BusFlags {
  return Object.fromEntries(KEYS.map((key) => [key, env[envNameOf(key)] || undefined]).filter(([, value]) => value));
}

const flagsOf = (lab: RunningLab): BusFlags => ({
  natsUrl: lab.natsUrl,
  natsUser: lab.user,
  natsPasswordFile: lab.passwordFile,
});

function labNamed(id: string, labs: readonly RunningLab[]): RunningLab {
  const lab = labs.find((candidate) => candidate.id === id);
  if (lab) return lab;
  const known = labs.map((candidate) => candidate.id).join(', ');
  throw new CliError('CLI_NOT_FOUND', `--lab: no lab "${id}" is up on this machine`, {
    remedy: known ? `labs that are up: ${known}` : 'start one with `bailiff lab up --detach`',
  });
}

/** Message of the error when nothing names a bus. */
export const NO_BUS = 'no bus is selected';

function noBusError(labs: readonly RunningLab[]): CliError {
  const ids = labs.map(({ id }) => `--lab ${id}`).join(' or ');
  const lines = [
    ...(labs.length > 1 ? [`${labs.length} labs are up, select one: ${ids}`] : []),
    'pass --context with a context of your kubeconfig, for the Bailiff in that cluster',
    'or --nats-url nats://host:4222 --nats-password-file <file>',
    'or set BAILIFF_NATS_URL and BAILIFF_NATS_PASSWORD_FILE',
    'or write {"natsUrl": …, "natsPasswordFile": …} to ~/.config/bailiff/context.json',
  ];
  return new CliError('CLI_CONTEXT', NO_BUS, { remedy: lines.join('\n') });
}

const SERVER = /^((nats|tls|wss?):\/\/)?([^\s/@]+@)?(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?\/?$/i;

/** A name without scheme and port is more likely a typo than a host. */
const isServer = (text: string) => SERVER.test(text) && /:\/\/|:\d+\/?$/.test(text);

/** @throws CliError CLI_USAGE | CLI_CONTEXT */
function checkServers(urls: string, { flags, context }: ConnectionSources, environment: BusFlags): void {
  const wrong = urls
    .split(',')
    .map((url) => url.trim())
    .find((url) => !isServer(url));
  if (wrong === undefined) return;
  const where = flags.natsUrl ? '--nats-url' : environment.natsUrl ? envNameOf('natsUrl') : `${context?.path}: natsUrl`;
  throw new CliError(flags.natsUrl ? 'CLI_USAGE' : 'CLI_CONTEXT', `${where}: "${wrong}" is not a NATS URL`, {
    remedy: 'use nats://host:port; separate several with commas',
  });
}

/** The lab that is used when nothing names a bus, and why. */
function defaultLab({ env, labs }: ConnectionSources): { lab: RunningLab | undefined; why: string } {
  if (labs.length === 1) return { lab: labs[0], why: 'the only lab that is up' };
  const lab = labs.find(({ kubeconfig }) => kubeconfig !== '' && kubeconfig === env['KUBECONFIG']);
  return { lab, why: 'its kubeconfig is KUBECONFIG' };
}

/** The cluster that the sources name or imply; null if another source selects the bus. */
function clusterOf(sources: ConnectionSources, environment: BusFlags, lab: RunningLab | null): ClusterChoice | null {
  const { flags, cluster = {}, context, hasKubeconfig = false, asPlugin = false } = sources;
  const { kubeconfig = '', context: name = '', namespace = null } = cluster;
  const isNamed = kubeconfig !== '' || name !== '' || namespace !== null;
  const choice = { kubeconfig, context: name, namespace };
  if (flags.natsUrl || sources.lab !== undefined) return null;
  if (isNamed) return choice;
  if (environment.natsUrl || lab || !hasKubeconfig) return null;
  return asPlugin || !context ? choice : null;
}

/** --kubeconfig of a lab selects the lab, whose bus is on this machine. */
function labOfKubeconfig({ flags, cluster, labs }: ConnectionSources): RunningLab | null {
  const file = cluster?.kubeconfig;
  return (file && !flags.natsUrl && labs.find(({ kubeconfig }) => kubeconfig === file)) || null;
}

/** A lab that needs no flag. A kubectl plugin uses the lab of its kubeconfig only. */
function impliedLab(sources: ConnectionSources): ReturnType<typeof defaultLab> | null {
  const { lab, why } = defaultLab(sources);
  const isOfKubectl = lab?.kubeconfig !== undefined && lab.kubeconfig === sources.env['KUBECONFIG'];
  return sources.asPlugin && !isOfKubectl ? null : { lab, why };
}

function sourceOf({ flags, context, env }: ConnectionSources, lab: RunningLab | null, cluster: ClusterChoice | null) {
  if (flags.natsUrl) return '--nats-url';
  if (cluster) return `cluster ${cluster.context || 'of the current context'}`;
  if (lab) return `lab ${lab.id}`;
  return env[envNameOf('natsUrl')] ? envNameOf('natsUrl') : (context?.path ?? '');
}

/** Names a bus that no flag selected. A kubectl plugin always uses kubectl's cluster, so it prints no note. */
function noteOf(
  { cluster: flags, asPlugin }: ConnectionSources,
  implied: ReturnType<typeof defaultLab> | null,
  cluster: ClusterChoice | null,
): string {
  if (implied?.lab) return `using lab ${implied.lab.id}: ${implied.why} (select another bus with --lab or --nats-url)`;
  if (!cluster || asPlugin || flags?.context || flags?.kubeconfig) return '';
  return 'using the cluster of the current kubeconfig context (select another with --context or --nats-url)';
}

/** @throws CliError CLI_CONTEXT | CLI_NOT_FOUND | CLI_USAGE */
export function resolveConnection(sources: ConnectionSources): Connection {
  const { flags, env, labs } = sources;
  const environment = sources.lab === undefined ? fromEnv(env) : {};
  const isExplicit = KEYS.some((key) => flags[key] !== undefined) || Object.keys(environment).length > 0;
  const named = sources.lab === undefined ? labOfKubeconfig(sources) : labNamed(sources.lab, labs);
  const isImplied = !(isExplicit || named || (sources.context && !sources.asPlugin));
  const implied = isImplied ? impliedLab(sources) : null;
  const cluster = named ? null : clusterOf(sources, environment, implied?.lab ?? null);
  const lab = cluster ? null : (named ?? implied?.lab ?? null);
  const fromFile = sources.context && !cluster ? parseContext(sources.context) : {};
  const given: BusFlags = { ...(lab ? flagsOf(lab) : fromFile), ...(cluster ? {} : environment) };
  for (const key of KEYS) if (flags[key] !== undefined) given[key] = flags[key];
  if (!given.natsUrl && !cluster) throw noBusError(labs);
  if (given.natsUrl) checkServers(given.natsUrl, sources, environment);
  if (Boolean(given.natsCertFile) !== Boolean(given.natsKeyFile)) {
    throw new CliError('CLI_CONTEXT', 'a client certificate needs its key, and a key needs its certificate', {
      remedy: 'pass both --nats-cert-file and --nats-key-file, or neither',
    });
  }
  return {
    natsUrl: given.natsUrl ?? '',
    natsUser: given.natsUser ?? DEFAULT_USER,
    natsPasswordFile: given.natsPasswordFile ?? '',
    natsCaFile: given.natsCaFile ?? '',
    natsCertFile: given.natsCertFile ?? '',
    natsKeyFile: given.natsKeyFile ?? '',
    source: sourceOf(sources, lab, cluster),
    note: noteOf(sources, lab && implied, cluster),
    lab,
    cluster,
    installation: null,
  };
}
