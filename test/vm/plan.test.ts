// Command lines of qemu and the daemons, and the parser of the output. Starts nothing.
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sourceLines } from '../../tools/distribution.ts';
import { archive, inLoadOrder } from './initrd.ts';
import { LINE_MARK, readLines, type TestLine } from './lines.ts';
import { jobScript, kernelCommandLine, qemuArguments, quote, virtiofsdArguments } from './plan.ts';

const plan = {
  kernel: { name: 'k', release: '6.12.1', dir: '/cache/k', image: '/cache/k/boot/vmlinuz-6.12.1' },
  repo: '/repo',
  dir: '/tmp/job',
  kernelArgs: ['preempt=full'],
};

describe('virtual machine plan', () => {
  it('words - sh reads a quoted word back unchanged', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string().filter((s) => !s.includes('\0')),
          { minLength: 1, maxLength: 8 },
        ),
        (words) => {
          const script = `printf '%s\\0' ${words.map(quote).join(' ')}`;
          expect(execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)).toEqual(words);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('job - passes the listed environment variables and no others', () => {
    const script = jobScript(['a b', '$c'], plan, {
      CI: '1',
      BAILIFF_X: 'y z',
      AWS_SECRET: 'no',
      VITEST_WORKER_ID: undefined,
    });
    expect(script).toContain("export CI=1\nexport BAILIFF_X='y z'\n");
    expect(script).not.toContain('AWS_SECRET');
    expect(script).not.toContain('VITEST');
    expect(script).toMatch(/\ncd \/repo\n'a b' '\$c'\n$/);
  });

  it('kernel - bpf among the security modules, own arguments last', () => {
    expect(kernelCommandLine(plan)).toMatch(/ lsm=[a-z,]*\bbpf\b.* preempt=full$/);
  });

  it('shares - the root read-only, the repository not', () => {
    expect(virtiofsdArguments(plan, 'root')).toContain('--readonly');
    expect(virtiofsdArguments(plan, 'repo')).not.toContain('--readonly');
    expect(virtiofsdArguments(plan, 'repo')).toContain('/repo');
  });

  it('lines - read between other output; a cut-off line is left out', () => {
    const line: TestLine = { file: 'f', name: 'n', state: 'passed', note: '', errors: [], durationMs: 1 };
    const text = `${LINE_MARK}${JSON.stringify(line)}`;
    expect(readLines(`noise\n${text}\nmore\n${text}\n${text.slice(0, -4)}`)).toEqual([line, line]);
  });

  it('first root - only for a kernel that needs one', () => {
    expect(qemuArguments(plan)).not.toContain('-initrd');
    const given = qemuArguments({ ...plan, initrd: '/tmp/job/initrd' });
    expect(given.slice(given.indexOf('-initrd'))).toEqual(['-initrd', '/tmp/job/initrd']);
  });

  it('first root - modules follow their dependencies, each once; built-in ones are left out', () => {
    const lines = [
      'kernel/virtio/virtio_pci.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko',
      'kernel/virtio/virtio.ko:',
      'kernel/virtio/virtio_ring.ko: kernel/virtio/virtio.ko',
      'kernel/fuse/virtiofs.ko.xz: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko kernel/fuse/fuse.ko.xz',
    ];
    const order = inLoadOrder(['virtio_pci', 'virtiofs', 'virtio_console'], `${lines.join('\n')}\n`);
    const names = order.map((file) => file.replace(/.*\//, ''));
    expect(names).toEqual(['virtio.ko', 'virtio_ring.ko', 'virtio_pci.ko', 'fuse.ko.xz', 'virtiofs.ko.xz']);
  });

  it('first root - records of the archive start at multiples of four and contain the files', () => {
    const data = Buffer.from('seven b');
    const bytes = archive([{ name: 'init', data }]);
    const header = (at: number, field: number) =>
      Number.parseInt(bytes.toString('latin1', at + 6 + field * 8, at + 14 + field * 8), 16);
    expect(bytes.toString('latin1', 0, 6)).toBe('070701');
    expect([header(0, 1), header(0, 6), header(0, 11)]).toEqual([0o100755, data.length, 'init'.length + 1]);
    expect(bytes.toString('latin1', 110, 115)).toBe('init\0');
    expect(bytes.subarray(116, 123)).toEqual(data);
    expect(bytes.toString('latin1', 124, 130)).toBe('070701');
    expect(bytes.toString('latin1', 124 + 110, 124 + 121)).toBe('TRAILER!!!\0');
  });

  it("sources - another suite uses the mirror of the machine's release, a security suite the security mirror", () => {
    const sources = [
      { uri: 'http://mirror/debian/', codename: 'trixie-updates', signedBy: '/key' },
      { uri: 'http://mirror/debian/', codename: 'trixie', signedBy: '/key' },
      { uri: 'http://mirror/security/', codename: 'trixie-security', signedBy: '' },
    ];
    expect(sourceLines(['bookworm', 'bookworm-security'], sources, 'trixie')).toEqual([
      'deb [signed-by=/key] http://mirror/debian/ bookworm main',
      'deb http://mirror/security/ bookworm-security main',
    ]);
    expect(() => sourceLines(['bookworm'], sources, 'noble')).toThrow('apt has no source for noble');
  });
});
