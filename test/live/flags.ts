/** Flags of `npm run live`. Pure. */
import { parseArgs } from 'node:util';

export interface Options {
  kubeconfig: string;
  context: string;
  /** Names or prefixes of scenarios; empty: all. */
  only: string[];
  list: boolean;
  install: boolean;
  uninstall: boolean;
  yes: boolean;
  reportDir: string;
  node: string;
  namespace: string;
  /** Files of values, and `key=value`, for the chart. */
  values: string[];
  set: string[];
  /** Pods of the scenario first-packet. */
  firstPods: number;
  /** Shell command that reboots the node of the attacks and returns; empty: no reboot. */
  rebootCommand: string;
  /** Image tag that the upgrade installs; empty: only an annotation changes. */
  upgradeTag: string;
  agentImage: string;
  imagePrefix: string;
  imageTag: string;
  natsImage: string;
  valkeyImage: string;
  help: boolean;
}

const MAX_FIRST_PODS = 10_000;

export const HELP = `usage: npm run live -- --kubeconfig FILE [FLAGS]

Attacks pods of its own on a real cluster and compares the counts of sender, receiver and bus. Every attack first runs unguarded, as its control.

  --kubeconfig FILE      the cluster (needed)
  --context NAME         context of the kubeconfig
  --install              install Bailiff first, by Helm from k8s/chart; --uninstall removes the release at the end and checks what is left
  --values FILE          with --install: values of the chart; likewise --set KEY=VALUE. Both can be repeated
  --only NAMES           scenarios or their prefixes, separated by commas
  --list                 list the scenarios
  --report DIR           also write report.json and junit.xml
  --yes                  do not ask before the suite detaches the collector of a node, restarts parts of Bailiff, or installs
  --node NAME            node of the attacks (default: the first that runs a collector)
  --namespace NAME       namespace of Bailiff (bailiff-system)
  --first-pods N         pods of the scenario first-packet (20). From 100 on, the collector is killed meanwhile, during an attack by another pod
  --reboot-command CMD   shell command on this machine that reboots the node of the attacks: runs the scenario reboot
  --agent-image IMAGE    image with Python 3.8 or newer (docker.io/library/python:3.13-slim)
  --images PREFIX        with --install: images are PREFIX/collector, PREFIX/correlator, … (bailiff)
  --tag TAG              their tag (0.1.0)
  --upgrade-tag TAG      tag of Bailiff's images that the scenario chaos-upgrade installs (default: the same, with another pod template of the collector)
  --nats-image IMAGE     instead of the image in the chart; likewise --valkey-image
`;

/** @throws TypeError for an unknown or missing flag */
export function readFlags(args: readonly string[]): Options {
  const text = (value = '') => ({ type: 'string' as const, default: value });
  const list = { type: 'string' as const, multiple: true as const, default: [] as string[] };
  const flag = { type: 'boolean' as const, default: false };
  const { values } = parseArgs({
    args: [...args],
    options: {
      kubeconfig: text(),
      context: text(),
      only: text(),
      node: text(),
      report: text(),
      list: flag,
      install: flag,
      uninstall: flag,
      yes: flag,
      help: flag,
      namespace: text('bailiff-system'),
      values: list,
      set: list,
      'agent-image': text('docker.io/library/python:3.13-slim'),
      images: text('bailiff'),
      tag: text('0.1.0'),
      'upgrade-tag': text(),
      'first-pods': text('20'),
      'reboot-command': text(),
      'nats-image': text(),
      'valkey-image': text(),
    },
  });
  if (!values.kubeconfig && !values.help && !values.list) throw new TypeError('--kubeconfig is missing');
  const firstPods = Number(values['first-pods']);
  if (!Number.isInteger(firstPods) || firstPods < 1 || firstPods > MAX_FIRST_PODS)
    throw new TypeError(`--first-pods ${values['first-pods']}: a number from 1 to ${MAX_FIRST_PODS}`);
  return {
    kubeconfig: values.kubeconfig,
    context: values.context,
    only: values.only
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean),
    list: values.list,
    install: values.install,
    uninstall: values.uninstall,
    yes: values.yes,
    reportDir: values.report,
    node: values.node,
    namespace: values.namespace,
    values: values.values,
    set: values.set,
    firstPods,
    rebootCommand: values['reboot-command'],
    upgradeTag: values['upgrade-tag'],
    agentImage: values['agent-image'],
    imagePrefix: values.images.replace(/\/$/, ''),
    imageTag: values.tag,
    natsImage: values['nats-image'],
    valkeyImage: values['valkey-image'],
    help: values.help,
  };
}
