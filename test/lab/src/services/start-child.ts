/**
 * Starts a long-running program of the lab: the lab defines place, log and registration, the caller
 * the rest.
 */
import path from 'node:path';
import type { Place } from '../native-tool.ts';
import { type Child, type ChildSpec, startChild } from './children.ts';

export type ChildRequest = Pick<ChildSpec, 'name' | 'command' | 'args' | 'env' | 'isReady'> & {
  /** Network namespace; default: the host's. */
  netns?: string;
};
export type StartChild = (request: ChildRequest) => Promise<Child>;

export interface ChildHost {
  labtool: string;
  logsDir: string;
  /** Parent of each child's cgroup. */
  systemCgroupDir: string;
  makeCgroup: (dir: string) => Promise<void>;
  onStarted: (child: Child) => void;
}

export function childStarter(host: ChildHost): StartChild {
  return async ({ name, command, args, env, isReady, netns }) => {
    const cgroup = path.join(host.systemCgroupDir, name);
    await host.makeCgroup(cgroup);
    const place: Place = { cgroup, ...(netns ? { netns } : {}) };
    const logFile = path.join(host.logsDir, `${name}.log`);
    const child = await startChild({ name, command, args, env, isReady, place, logFile, labtool: host.labtool });
    host.onStarted(child);
    return child;
  };
}
