// Values of the chart that cannot work: the real helm refuses them in words, before anything is
// installed, and renders the nearest values that work.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, helmProgram, NO_HELM, template } from '../../tools/helm.ts';

const program = helmProgram();
const foreign = parse(readFileSync(path.join(CHART, 'files/foreign-values.yaml'), 'utf8')) as Record<string, string>;
const DIGEST = `sha256:${'a'.repeat(64)}`;

if (program === null) {
  it('helm', (context) => context.skip(NO_HELM));
} else {
  /** Standard error of a refused rendering, without helm's own line. */
  const refusal = (set: readonly string[]): string => {
    try {
      template(program, { set });
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
    return '';
  };

  describe('refused in words', () => {
    /** Values that are refused, the reason, and the nearest ones that work. */
    const ROWS: [string, string[], RegExp, string[]][] = [
      [
        'no tag and no digest of NATS',
        ['nats.image.digest='],
        /nats\.image has neither a tag nor/,
        ['nats.image.digest=', 'nats.image.tag=2.14.7'],
      ],
      [
        'no tag and no digest of Valkey',
        ['redis.image.tag='],
        /redis\.image has neither a tag nor/,
        ['redis.image.tag=', `redis.image.digest=${DIGEST}`],
      ],
      [
        'a tag beside a digest',
        [`collector.image.digest=${DIGEST}`, 'collector.image.tag=v2'],
        /collector\.image\.tag has no effect while/,
        [`collector.image.digest=${DIGEST}`],
      ],
      [
        'another digest',
        ['collector.image.digest=abc'],
        /digest "abc" is not a digest: it is sha256:/,
        [`collector.image.digest=${DIGEST}`],
      ],
      [
        'a tag in the repository',
        ['collector.image.repository=me/collector:v2'],
        /is not a repository: .* without registry, tag/,
        ['collector.image.repository=me/collector'],
      ],
      [
        'a registry with a scheme',
        ['global.imageRegistry=https://r.example/'],
        /has a scheme: images have none, so use r\.example/,
        ['global.imageRegistry=r.example:5000/a'],
      ],
      [
        'one image of such a registry',
        ['nats.image.registry=docker://r.example'],
        /nats\.image\.registry .* has a scheme/,
        ['nats.image.registry=docker.io'],
      ],
      [
        'a registry that ends in a slash',
        ['global.imageRegistry=r.example/'],
        /without a slash at the end/,
        ['global.imageRegistry=r.example'],
      ],
      [
        'a volume below its own limit',
        ['nats.storage.size=12Gi'],
        /size 12Gi is not more than a server may store .*12GiB/,
        ['nats.storage.size=12.5Gi'],
      ],
      [
        'a limit above its volume',
        ['nats.storage.maxFileStore=17GiB'],
        /16Gi is not more than .*17GiB/,
        ['nats.storage.maxFileStore=15GiB'],
      ],
      ['decimal sizes', ['nats.storage.size=12G'], /size 12G is not more/, ['nats.storage.size=13G']],
      [
        'a retention above the limit',
        ['bus.keepBytes=6GiB'],
        /bus\.keepBytes 6GiB, with 6\.5GiB of the other streams, is more than/,
        ['bus.keepBytes=20GiB', 'nats.storage.maxFileStore=30GiB', 'nats.storage.size=32Gi'],
      ],
      [
        'a small volume of Valkey',
        ['redis.storage.size=256Mi'],
        /redis\.storage\.size 256Mi is less than/,
        ['redis.storage.size=512Mi'],
      ],
      [
        'a soft limit above the hard one',
        ['nats.goMemLimit=2GiB'],
        /goMemLimit 2GiB is not below .* 2Gi/,
        ['nats.goMemLimit=1GiB'],
      ],
      [
        'Recreate for a DaemonSet',
        ['collector.updateStrategy.type=Recreate'],
        /Recreate is not possible \(it is a DaemonSet\): use RollingUpdate or OnDelete/,
        ['collector.updateStrategy.type=OnDelete'],
      ],
      [
        'OnDelete for a Deployment',
        ['busAuth.updateStrategy.type=OnDelete'],
        /OnDelete is not possible \(it is a Deployment\)/,
        ['busAuth.updateStrategy.type=Recreate'],
      ],
      [
        'two relays during an update',
        ['siemRelay.updateStrategy.type=RollingUpdate'],
        /would write every event twice/,
        ['siemRelay.updateStrategy.type=Recreate'],
      ],
      [
        'a log whose name has a space',
        ['evidenceLog.origin=a log'],
        /evidenceLog\.origin "a log" is not a name/,
        ['evidenceLog.origin=bailiff.example/log'],
      ],
      ['days in words', ['bus.keepDays=week'], /bus\.keepDays "week" is not a number of days/, ['bus.keepDays=7']],
      [
        'a size without a unit',
        ['nats.storage.size=20GB'],
        /nats\.storage\.size "20GB" is not a size: use a number with Mi, Gi or Ti/,
        ['nats.storage.size=20Gi'],
      ],
      [
        'a cgroup elsewhere',
        ['collector.cgroupRoot=/sys/fs/cgroup'],
        /is not below \/host\/cgroup/,
        ['collector.cgroupRoot=/host/cgroup/kubepods'],
      ],
      [
        'CNI records elsewhere',
        ['collector.cniResultsDirs={/var/lib/cni/results,/run/multus/results}'],
        /is not below \/var\/lib\/cni/,
        ['collector.cniResultsDirs={/var/lib/cni/results,/var/lib/cni/other/results}'],
      ],
      [
        'a relative directory',
        ['cni.confDir=etc/cni'],
        /cni\.confDir "etc\/cni" is not an absolute path/,
        ['cni.confDir=/etc/cni'],
      ],
      [
        'a label of selectors',
        ['collector.podLabels.app\\.kubernetes\\.io/component=mine'],
        /collector\.podLabels sets app\.kubernetes\.io\/component, which belongs to the chart/,
        ['collector.podLabels.team=mine'],
      ],
      [
        'an address of a bus that is included',
        ['nats.url=tls://nats.example:4222'],
        /nats\.url has no effect with nats\.mode=included/,
        ['nats.url=tls://nats.example:4222', 'nats.mode=external'],
      ],
      [
        'two monitors',
        ['prometheus.podMonitor.enabled=true', 'prometheus.serviceMonitor.enabled=true'],
        /scraped twice/,
        ['prometheus.serviceMonitor.enabled=true'],
      ],
      ['one port for two listeners', ['probes.port=9464'], /are both 9464/, ['probes.port=9466']],
      [
        'syslog without an address',
        ['siem.outputs.syslog.format=ecs'],
        /syslog has no address, so nothing is sent/,
        ['siem.outputs.syslog.format=ecs', 'siem.outputs.syslog.address=a:6514'],
      ],
      [
        'an output without the relay',
        ['siemRelay.enabled=false', 'siem.outputs.otlp.url=http://a:4318'],
        /no effect with siemRelay\.enabled=false/,
        ['siemRelay.enabled=false'],
      ],
      [
        'a misspelt setting of an output',
        ['siem.outputs.otlp.ulr=http://a:4318'],
        /'\/siem\/outputs\/otlp': additional properties 'ulr' not allowed/,
        ['siem.outputs.otlp.url=http://a:4318'],
      ],
      [
        'a policy that does not exist',
        ['initialPolicies={no-shel}'],
        /"no-shel" is not a ready-made policy: there are af-alg, /,
        ['initialPolicies={no-shell}'],
      ],
      [
        'a key that does not exist',
        ['initialConfig.rules/mine.enabled=true'],
        /"rules\/mine" names no key: use .*correlation\/<rule>/,
        ['initialConfig.correlation/mine.enabled=true'],
      ],
      [
        'one policy twice',
        ['initialPolicies={no-shell}', 'initialConfig.runtime/no-shell.kind=RuntimePolicy'],
        /is also in initialPolicies/,
        ['initialConfig.runtime/no-shell.kind=RuntimePolicy'],
      ],
      [
        'a mode that is not stored',
        ['initialMode=audit', 'initialConfig.spoof/cluster.enabled=true'],
        /no effect with initialMode=audit/,
        ['initialConfig.spoof/cluster.enabled=true'],
      ],
      [
        'a runbook that is no address',
        ['monitoring.runbookBaseUrl=git.example'],
        /runbookBaseUrl "git\.example" is not an address/,
        ['monitoring.runbookBaseUrl=https://git.example/b/blob/main'],
      ],
    ];

    it.each(ROWS)(
      '%s',
      (_, set, why, instead) => {
        const text = refusal(set);
        expect(text).toMatch(why);
        expect(text).not.toMatch(/does not match|nil pointer|error calling/);
        expect(refusal(instead)).toBe('');
      },
      120_000,
    );

    it('all problems at once', () => {
      const text = refusal(['nats.image.digest=', 'bus.keepDays=week', 'global.imageRegistry=http://a']);
      expect(text.match(/^ {2}- /gm)).toHaveLength(3);
      expect(text).toContain('so nothing was changed');
    }, 120_000);

    it('values of the charts of Cilium, Tetragon and Falco, with our name', () => {
      const names = Object.keys(foreign);
      const text = refusal(names.map((name) => `${name}=true`));
      for (const name of names) expect(text).toContain(`  - ${name} is a value of another chart: ${foreign[name]}\n`);
      // As people paste them: groups, lists and empty groups.
      expect(refusal(['tetragon.prometheus.serviceMonitor.enabled=true'])).toContain('tetragon is a value of another');
      expect(refusal(['image.repository=quay.io/cilium/cilium'])).toContain('each part has its own image');
      expect(refusal(['tolerations[0].operator=Exists'])).toContain('use collector.tolerations');
      expect(refusal(['falcosidekick.enabled=false'])).toContain('use siem.outputs');
    }, 120_000);
  });
}
