/**
 * Where each page is in the site: by task. Pages that are named nowhere are listed under "More", so
 * that no page is unreachable. Pure.
 */

export interface Section {
  readonly title: string;
  /** Text of the link and page without `.md`. */
  readonly pages: readonly (readonly [string, string])[];
}

export const SECTIONS: readonly Section[] = [
  {
    title: 'Try',
    pages: [
      ['Overview', 'README'],
      ['Tutorial', 'docs/tutorial'],
      ['Glossary', 'docs/glossary'],
    ],
  },
  {
    title: 'Install',
    pages: [
      ['On Kubernetes', 'docs/install'],
      ['Distributions', 'docs/distributions'],
      ['Images', 'docs/images'],
      ['Chart', 'k8s/chart/README'],
      ['CNI plugin', 'docs/cni-plugin'],
      ['Releases', 'docs/releases'],
      ['Conformance', 'docs/conformance'],
      ['Command', 'apps/cli/README'],
    ],
  },
  {
    title: 'Operate',
    pages: [
      ['Operations', 'docs/operations'],
      ['Sizing', 'docs/sizing'],
      ['Alerts', 'docs/alerts'],
      ['On call', 'docs/on-call'],
      ['Configuration', 'docs/configuration'],
      ['Runtime policies', 'docs/runtime-policies'],
      ['Custom resources', 'docs/custom-resources'],
      ['Credentials', 'docs/bus-credentials'],
      ['Logins', 'docs/bus-logins'],
      ['Changelog', 'CHANGELOG'],
    ],
  },
  {
    title: 'Investigate',
    pages: [
      ['Console', 'docs/console'],
      ['Evidence', 'docs/evidence'],
      ['Captures', 'docs/capture'],
      ['SIEM', 'docs/siem/README'],
      ['Outputs of the SIEM', 'docs/siem/outputs'],
    ],
  },
  {
    title: 'Reference',
    pages: [
      ['Contents', 'docs/reference/README'],
      ['Commands', 'docs/reference/commands'],
      ['Settings', 'docs/reference/config'],
      ['Metrics', 'docs/reference/metrics'],
      ['Errors', 'docs/reference/errors'],
      ['Processes', 'docs/reference/processes'],
      ['Limits', 'docs/reference/limits'],
      ['Shares', 'docs/reference/shares'],
      ['Subjects', 'docs/reference/subjects'],
      ['Streams', 'docs/reference/streams'],
      ['Schemas', 'docs/reference/schemas'],
      ['Kernel maps', 'docs/reference/kernel-maps'],
      ['Packet fields', 'docs/reference/packet-fields'],
      ['System calls', 'docs/reference/system-calls'],
      ['Packet rules', 'libs/bpf/bpf/spoof/rules'],
      ['Runtime hooks', 'docs/runtime-hooks'],
      ['Runtime paths', 'docs/runtime-paths'],
      ['Runtime scenarios', 'docs/runtime-scenarios'],
      ['Format of evidence', 'docs/evidence-format'],
    ],
  },
  {
    title: 'Understand',
    pages: [
      ['Architecture', 'ARCHITECTURE'],
      ['Threat model', 'docs/threat-model'],
      ['Benchmarks', 'docs/benchmarks'],
      ['Decisions', 'docs/adr/index'],
    ],
  },
  {
    title: 'Project',
    pages: [
      ['Contributing', 'CONTRIBUTING'],
      ['Governance', 'GOVERNANCE'],
      ['Maintainers', 'MAINTAINERS'],
      ['Security policy', 'SECURITY'],
      ['Security baseline', 'docs/security-baseline'],
      ['Dependencies', 'docs/dependencies'],
      ['Technical review', 'docs/general-technical-review'],
      ['Recordings', 'test/versions/README'],
    ],
  },
];

/** Decisions, which their index lists, and the lists of folders to which a page links. */
const INDEXED = /^docs\/adr\/|\/index$/;

/** Sections with the pages that exist, and the rest under "More". */
export function sectionsOf(pages: ReadonlySet<string>): Section[] {
  const named = new Set(SECTIONS.flatMap((section) => section.pages.map(([, page]) => page)));
  const rest = [...pages].filter((page) => !named.has(page) && !INDEXED.test(page)).sort();
  const present = SECTIONS.map(({ title, pages: wanted }) => ({
    title,
    pages: wanted.filter(([, page]) => pages.has(page)),
  }));
  const more = { title: 'More', pages: rest.map((page) => [page.slice(page.lastIndexOf('/') + 1), page] as const) };
  return [...present, more].filter((section) => section.pages.length > 0);
}

/** Address of a page in the site. */
export const addressOf = (page: string): string =>
  `/${page === 'README' ? 'overview' : page.replace(/(^|\/)(README|index)$/, '$1')}`;
