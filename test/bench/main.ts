/**
 * `npm run bench` runs every bench in order and writes docs/benchmarks.md. `npm run bench -- NAME…` runs
 * some and only prints them. Needs root for namespaces, tcx and CPU accounting.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import path from 'node:path';
import { render, type Section } from './report.ts';

const BENCHES: Record<string, () => Promise<{ bench: () => Promise<Section> }>> = {
  'kernel-ns': () => import('./kernel-ns.ts'),
  'veth-rate': () => import('./veth-rate.ts'),
  flood: () => import('./flood.ts'),
  latency: () => import('./latency.ts'),
  cni: () => import('./cni.ts'),
  memory: () => import('./memory.ts'),
  'collector-throughput': () => import('./collector-throughput.ts'),
  'correlator-throughput': () => import('./correlator-throughput.ts'),
  'evidence-log': () => import('./evidence-log.ts'),
  'fast-paths': () => import('./fast-paths.ts'),
  console: () => import('./console.ts'),
  durability: () => import('./durability.ts'),
  sizing: () => import('./sizing.ts'),
  'lsm-cost': () => import('./lsm-cost.ts'),
  'lsm-live': () => import('./lsm-live.ts'),
};

function machine(): string {
  const nats = execFileSync('nats-server', ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
  }).trim();
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const cpu = cpus();
  return `${new Date().toISOString().slice(0, 10)} · ${cpu.length} × ${cpu[0]?.model.trim()} · ${Math.round(totalmem() / 2 ** 30)} GiB · Linux ${kernel} · Node ${process.version} · ${nats}`;
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`no such bench: ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`);
  process.exit(2);
}
const sections: Section[] = [];
for (const name of asked.length > 0 ? asked : Object.keys(BENCHES)) {
  const began = performance.now();
  const { bench } = await (BENCHES[name] as () => Promise<{ bench: () => Promise<Section> }>)();
  sections.push(await bench());
  console.error(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
}
const text = render(sections, machine());
if (asked.length > 0) process.stdout.write(text);
else writeFileSync(path.resolve(import.meta.dirname, '../../docs/benchmarks.md'), text);
process.exit(0);
