/**
 * Labs that are up on this machine, as far as a command needs them: where their bus is and who we are on it. Read from what a lab writes
 * down about itself (<dir>/state.json); a file that cannot be read as such is no lab.
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

/** The start time of a process in clock ticks, which with its pid names it for good; null when there is none. */
function startTicksOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses and may hold spaces; the start time is the 22nd.
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
    // A lab that is just being made or removed has none.
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

/** Labs that are ready and whose supervisor lives, by id. */
export function runningLabs(labsDir = LABS_DIR): RunningLab[] {
  let names: string[];
  try {
    names = readdirSync(labsDir).sort();
  } catch {
    return [];
  }
  return names.map((name) => read(path.join(labsDir, name))).filter((lab) => lab !== null);
}
