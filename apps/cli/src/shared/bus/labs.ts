/**
 * Labs on this machine: address of their bus and the CLI's identity on it, from <dir>/state.json. A
 * file that does not parse is ignored.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as z from 'zod';

export const LABS_DIR = '/run/bailiff-lab';

export interface RunningLab {
  id: string;
  natsUrl: string;
  user: string;
  passwordFile: string;
  kubeconfig: string;
  redisUrl: string;
}

const state = z.object({
  id: z.string(),
  pid: z.number().int().positive(),
  startTicks: z.string(),
  phase: z.string(),
  info: z
    .object({
      natsUrl: z.string().min(1),
      kubeconfig: z.string(),
      redisUrl: z.string(),
      credentials: z.object({ cli: z.object({ user: z.string().min(1), passwordFile: z.string().min(1) }) }),
    })
    .nullable(),
});

/**
 * The start time of a process in clock ticks, which with the pid identifies it; null if it is gone.
 */
function startTicksOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 2 is the program name in parentheses and may contain spaces. Field 22 is the start
    // time.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function read(dir: string): RunningLab | null {
  let text: string;
  try {
    text = readFileSync(path.join(dir, 'state.json'), 'utf8');
  } catch {
    // A lab that is being created or removed has no such file.
    return null;
  }
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return null;
  }
  const { data } = state.safeParse(raw);
  if (!data?.info || startTicksOf(data.pid) !== data.startTicks) return null;
  const { natsUrl, kubeconfig, redisUrl, credentials } = data.info;
  return { id: data.id, natsUrl, kubeconfig, redisUrl, ...credentials.cli };
}

/** Labs that are ready and whose supervisor runs, by id. */
export function runningLabs(labsDir = LABS_DIR): RunningLab[] {
  let names: string[];
  try {
    names = readdirSync(labsDir).sort();
  } catch {
    return [];
  }
  return names.map((name) => read(path.join(labsDir, name))).filter((lab) => lab !== null);
}
