/**
 * Debian's containerd with runc, driven as the kubelet drives it. By default it runs in mount and
 * PID namespaces of its own, where memory holds all its state: its end also ends every shim and
 * container and removes every mount. Only cgroups outlive it; disposal removes them.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { waitFor } from '@bailiff/service/testing';
import { isOnPath } from '../../../tools/programs.ts';
import { launch, type RunningProcess } from '../process.ts';
import { CriClient } from './client.ts';
import { POD_IMAGE } from './image.ts';
import { CriSandbox, type SandboxOptions } from './pod.ts';
import { hasProtocol } from './protocol.ts';

const PROGRAMS = ['containerd', 'containerd-shim-runc-v2', 'ctr', 'runc', 'unshare'];
const CGROUPS = '/sys/fs/cgroup';
/** Images of the kubelet's containers are in this namespace of containerd. */
const NAMESPACE = 'k8s.io';
/** An emulated machine needs a minute. */
const START_TIMEOUT_MS = 240_000;

const ISOLATE = ['unshare', '--mount', '--propagation=private', '--pid', '--fork', '--kill-child', '--mount-proc'];
/**
 * Shims and libcni have fixed paths in /run and /var/lib. The results are libcni's records. $1:
 * directory of the results, $2: configuration.
 */
const START_ISOLATED = `
  mount --make-rshared /
  mount -t tmpfs -o mode=755 run /run
  mount -t tmpfs -o mode=755 lib /var/lib
  mkdir -p /run/containerd /run/netns /var/lib/cni/results
  mount --bind "$1" /var/lib/cni/results
  containerd --config "$2" &
  wait $!`;

export interface CriOptions {
  /** An existing directory for socket, configuration and logs; the caller removes it. */
  readonly dir: string;
  /** Directories of CNI configurations, plugins, and records of attachments. */
  readonly cni: { readonly confDir: string; readonly binDir: string; readonly resultsDir: string };
  /** A command that starts its arguments elsewhere, for example in a node's network namespace. */
  readonly enter?: readonly string[];
  /** Parent of the pods' cgroups, below the root. Default: one that the runtime removes. */
  readonly cgroupParent?: string;
  /**
   * Runs it in the namespaces of the machine's first process, as a node does; for a virtual
   * machine. Runtime policies need that (docs/runtime-hooks.md). Disposal removes the sandboxes.
   */
  readonly sharesNamespaces?: boolean;
}

const configOf = ({ dir, cni, sharesNamespaces }: CriOptions): string => {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const text = (value: string) => JSON.stringify(value);
  const root = sharesNamespaces ? path.join(dir, 'containerd') : '/var/lib/containerd';
  return `version = 2
root = ${text(root)}
state = "/run/containerd"
[grpc]
  address = ${text(path.join(dir, 'cri.sock'))}
[plugins."io.containerd.internal.v1.opt"]
  path = ${text(path.join(root, 'opt'))}
[${cri}]
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = ${text(POD_IMAGE)}
  [${cri}.cni]
    bin_dir = ${text(cni.binDir)}
    conf_dir = ${text(cni.confDir)}
  [${cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
};

interface LoadedNetworks {
  Networks?: { Config: { Source: string } }[];
}
/** Texts of the configurations that containerd reports in its status. */
const sourcesOf = (status: string): string[] =>
  ((JSON.parse(status) as LoadedNetworks).Networks ?? []).map(({ Config }) => Config.Source);

let started = 0;

export class CriRuntime implements AsyncDisposable {
  readonly client: CriClient;
  readonly #options: CriOptions;
  readonly #process: RunningProcess;
  readonly #ownCgroup: string | null;
  readonly #cgroupParent: string;

  private constructor(options: CriOptions, process: RunningProcess, ownCgroup: string) {
    this.#options = options;
    this.#process = process;
    this.#ownCgroup = options.cgroupParent === undefined ? ownCgroup : null;
    this.#cgroupParent = options.cgroupParent ?? `/${ownCgroup}`;
    this.client = new CriClient(this.#socket);
  }

  /** The reason why no runtime can run here, or null. */
  static missing(): string | null {
    const lacking = PROGRAMS.filter((name) => !isOnPath(name));
    if (lacking.length > 0) return `${lacking.join(', ')} not installed: run scripts/setup`;
    return hasProtocol() ? null : 'the protocol of container runtimes is not in .cache: run scripts/setup';
  }

  /** @param podImage archive of the image of sandboxes (image.ts) */
  static async start(options: CriOptions, podImage: string): Promise<CriRuntime> {
    const config = path.join(options.dir, 'containerd.toml');
    writeFileSync(config, configOf(options));
    const script = [...ISOLATE, 'sh', '-ec', START_ISOLATED, 'sh', options.cni.resultsDir, config];
    const command = options.sharesNamespaces ? ['containerd', '--config', config] : script;
    const [program = '', ...args] = [...(options.enter ?? []), ...command];
    const containerd = launch(program, args);
    try {
      await containerd.printed('containerd successfully booted', START_TIMEOUT_MS);
      const runtime = new CriRuntime(options, containerd, `bailiff-cri-${process.pid}-${started++}`);
      await waitFor(() => runtime.client.runtime('Version'), { what: 'containerd to answer', state: containerd.out });
      await runtime.importImage(podImage, POD_IMAGE);
      return runtime;
    } catch (error) {
      await containerd.kill();
      throw error;
    }
  }

  get #socket(): string {
    return path.join(this.#options.dir, 'cri.sock');
  }

  /** The end of containerd's log, for failures. */
  get log(): string {
    return this.#process.out().slice(-5_000);
  }

  async importImage(archive: string, name: string): Promise<void> {
    const flags = ['--address', this.#socket, '--namespace', NAMESPACE];
    await promisify(execFile)('ctr', [...flags, 'images', 'import', '--index-name', name, archive]);
    const status = () => this.client.image<{ image: object | null }>('ImageStatus', { image: { image: name } });
    await waitFor(async () => (await status()).image !== null, { what: `the image ${name}`, state: () => this.log });
  }

  /** Waits until new sandboxes use the list in this file. */
  async usesNetwork(file: string): Promise<void> {
    const loaded = async () => {
      const { info } = await this.client.runtime<{ info: Record<string, string> }>('Status', { verbose: true });
      return info['cniconfig'] ?? '';
    };
    await waitFor(async () => sourcesOf(await loaded()).includes(readFileSync(file, 'utf8')), {
      what: `containerd to read ${file}`,
      state: loaded,
    });
  }

  runSandbox(pod: SandboxOptions): Promise<CriSandbox> {
    const logs = path.join(this.#options.dir, 'pod-logs', pod.uid);
    mkdirSync(logs, { recursive: true });
    const parent = path.join(this.#cgroupParent, `pod${pod.uid}`);
    return CriSandbox.run(this.client, { logs, parent, ...pod });
  }

  async #removeSandboxes(): Promise<void> {
    const { items } = await this.client.runtime<{ items: { id: string }[] }>('ListPodSandbox');
    for (const { id } of items)
      for (const method of ['StopPodSandbox', 'RemovePodSandbox'])
        await this.client.runtime(method, { pod_sandbox_id: id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#options.sharesNamespaces) await this.#removeSandboxes();
    } finally {
      this.client[Symbol.dispose]();
      await this.#process.kill();
    }
    const own = this.#ownCgroup;
    if (own === null) return;
    // The kernel removes processes from a cgroup only after it has reaped them.
    await waitFor(() => removeCgroups(own) === 0, { what: `the cgroups ${own} to be removed` });
  }
}

/** Removes cgroups of this name from every hierarchy. @returns the number of those that are busy */
function removeCgroups(name: string): number {
  const roots = [CGROUPS, ...readdirSync(CGROUPS).map((entry) => path.join(CGROUPS, entry))];
  return roots.map((root) => path.join(root, name)).filter((dir) => existsSync(dir) && !removeTree(dir)).length;
}

function removeTree(dir: string): boolean {
  const inner = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  if (!inner.map(({ name }) => removeTree(path.join(dir, name))).every(Boolean)) return false;
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    return false;
  }
}
