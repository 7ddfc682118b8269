/** Sandboxes and containers, by the calls that the kubelet makes for a pod. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import type { CriClient } from './client.ts';
import { POD_IMAGE } from './image.ts';

/** For a container's end under emulation. */
const EXIT_TIMEOUT_MS = 120_000;
const EXEC_TIMEOUT_SECONDS = 60;

export interface SandboxOptions {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly hostNetwork?: boolean;
  readonly hostPid?: boolean;
}

export interface ContainerOptions {
  readonly image?: string;
  /** Of restarts of a container with the same name. */
  readonly attempt?: number;
  /** Instead of the image's. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** LinuxContainerSecurityContext */
  readonly security?: object;
  /** Directories of this machine, mounted at the same path with the mounts below them. */
  readonly volumes?: readonly string[];
}

/** Lines and exit code of a command in a container. */
export interface Executed {
  readonly code: number;
  readonly lines: readonly string[];
}

interface SandboxConfig {
  log_directory: string;
  linux: { security_context: { namespace_options: object } };
}

const linesOf = (text: string): string[] => text.split('\n').filter(Boolean);

export class CriSandbox {
  readonly id: string;
  readonly client: CriClient;
  readonly config: SandboxConfig;

  private constructor(client: CriClient, id: string, config: SandboxConfig) {
    this.client = client;
    this.id = id;
    this.config = config;
  }

  static async run(
    client: CriClient,
    { logs, parent, uid, namespace, name, hostNetwork, hostPid }: SandboxOptions & { logs: string; parent: string },
  ): Promise<CriSandbox> {
    const namespaces = { network: hostNetwork ? 'NODE' : 'POD', pid: hostPid ? 'NODE' : 'CONTAINER' };
    const config = {
      metadata: { uid, namespace, name },
      log_directory: logs,
      // The kubelet passes no host name for a pod in the host's network.
      hostname: hostNetwork ? '' : name,
      // Without servers the runtime copies the machine's file.
      dns_config: { servers: ['192.0.2.53'] },
      linux: { cgroup_parent: parent, security_context: { namespace_options: namespaces } },
    };
    const answer = await client.runtime<{ pod_sandbox_id: string }>('RunPodSandbox', { config });
    return new CriSandbox(client, answer.pod_sandbox_id, config);
  }

  /** The addresses that the plugins returned, the primary one first. */
  async addresses(): Promise<string[]> {
    const { status } = await this.client.runtime<{
      status: { network: { ip: string; additional_ips: { ip: string }[] } };
    }>('PodSandboxStatus', { pod_sandbox_id: this.id });
    return [status.network.ip, ...status.network.additional_ips.map(({ ip }) => ip)];
  }

  /** Creates and starts a container. */
  async start(name: string, options: ContainerOptions): Promise<CriContainer> {
    const { image = POD_IMAGE, attempt = 0, command, args, env = {}, security, volumes = [] } = options;
    const log = `${name}-${attempt}.log`;
    const config = {
      metadata: { name, attempt },
      image: { image },
      command,
      args,
      log_path: log,
      envs: Object.entries(env).map(([key, value]) => ({ key, value })),
      mounts: volumes.map((dir) => ({
        host_path: dir,
        container_path: dir,
        propagation: 'PROPAGATION_HOST_TO_CONTAINER',
      })),
      linux: { security_context: { ...this.config.linux.security_context, ...security } },
    };
    const request = { pod_sandbox_id: this.id, config, sandbox_config: this.config };
    const { container_id } = await this.client.runtime<{ container_id: string }>('CreateContainer', request);
    await this.client.runtime('StartContainer', { container_id });
    return new CriContainer(this.client, container_id, path.join(this.config.log_directory, log));
  }

  /** Stops its containers and the sandbox: the plugins get DEL. */
  async stop(): Promise<void> {
    await this.client.runtime('StopPodSandbox', { pod_sandbox_id: this.id });
  }

  async remove(): Promise<void> {
    await this.stop();
    await this.client.runtime('RemovePodSandbox', { pod_sandbox_id: this.id });
  }
}

export class CriContainer {
  readonly #client: CriClient;
  readonly #id: string;
  readonly #log: string;

  constructor(client: CriClient, id: string, log: string) {
    this.#client = client;
    this.#id = id;
    this.#log = log;
  }

  /** Output of both streams, as the log file has it. */
  get lines(): string[] {
    return linesOf(readFileSync(this.#log, 'utf8')).map((line) => line.replace(/^\S+ (stdout|stderr) [FP] /, ''));
  }

  /** Waits for its end. @returns its exit code */
  async exit(): Promise<number> {
    const read = async () => {
      const request = { container_id: this.#id };
      return (await this.#client.runtime<{ status: { state: string; exit_code: number } }>('ContainerStatus', request))
        .status;
    };
    const { exit_code } = await waitFor(read, {
      what: 'the container to end',
      timeoutMs: EXIT_TIMEOUT_MS,
      until: ({ state }) => state === 'CONTAINER_EXITED',
    });
    return exit_code;
  }

  async exec(...cmd: string[]): Promise<Executed> {
    const { stdout, stderr, exit_code } = await this.#client.runtime<{
      stdout: Buffer;
      stderr: Buffer;
      exit_code: number;
    }>('ExecSync', { container_id: this.#id, cmd, timeout: EXEC_TIMEOUT_SECONDS });
    return { code: exit_code, lines: linesOf(`${stdout}${stderr}`) };
  }

  /** Kills it, if it runs, and removes it. */
  async remove(): Promise<void> {
    await this.#client.runtime('StopContainer', { container_id: this.#id, timeout: 0 });
    await this.#client.runtime('RemoveContainer', { container_id: this.#id });
  }
}
