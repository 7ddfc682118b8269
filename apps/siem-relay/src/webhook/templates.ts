/**
 * Bodies of webhooks. Pure.
 *
 * Texts of an event can come from a pod or its tenant. Slack gets them as plain text and Teams with
 * its markup escaped, so that they are neither links nor mentions. Limits: those of the receivers.
 */
import { clip } from '@bailiff/siem';
import type { Facts } from '../outputs/facts.ts';
import type { OutputEvent } from '../outputs/output.ts';
import { falcoEvent } from './falco.ts';

export const TEMPLATES = ['json', 'cloudevents', 'slack', 'teams', 'pagerduty', 'falco'] as const;
export type Template = (typeof TEMPLATES)[number];

export interface Body {
  contentType: string;
  body: Buffer;
}

/** Characters of a text in a chat message. */
const MAX_TEXT = 1_000;
/** Of a header block in Slack. */
const MAX_TITLE = 150;
/** Of a summary in PagerDuty. */
const MAX_SUMMARY = 1_024;

const json = (value: unknown, contentType = 'application/json'): Body => ({
  contentType,
  body: Buffer.from(JSON.stringify(value), 'utf8'),
});

/** @param routingKey of PagerDuty */
export function bodyOf(template: Template, event: OutputEvent, facts: Facts, routingKey: string): Body {
  if (template === 'json') return { contentType: 'application/json', body: Buffer.from(event.data) };
  if (template === 'cloudevents') return cloudEvent(event, facts);
  if (template === 'slack') return slack(facts);
  if (template === 'falco') return json(falcoEvent(event, facts));
  return template === 'teams' ? teams(facts) : pagerDuty(facts, routingKey);
}

const podOf = ({ namespace, pod }: Facts) => (pod === '' ? '' : `${namespace}/${pod}`);
const iso = (ms: number) => new Date(ms).toISOString();
const clusterOf = ({ clusterName, clusterUid }: Facts) => clusterName || clusterUid;

/** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md */
function cloudEvent(event: OutputEvent, facts: Facts): Body {
  const value = {
    specversion: '1.0',
    id: facts.uid,
    source: `/bailiff/${encodeURIComponent(facts.clusterUid || facts.clusterName || 'cluster')}`,
    type: `dev.bailiff.siem.${event.className}`,
    time: iso(facts.timeMs),
    ...(podOf(facts) === '' ? {} : { subject: podOf(facts) }),
    datacontenttype: 'application/json',
    data: JSON.parse(Buffer.from(event.data).toString('utf8')) as unknown,
  };
  return json(value, 'application/cloudevents+json');
}

/** Names and values that a person reads; empty ones are left out. */
function fieldsOf(facts: Facts): [name: string, value: string][] {
  const { level, rule, node, action, phase, verdictId, timeMs } = facts;
  const fields: [string, string][] = [
    ['Level', level],
    ['Rule', rule],
    ['Pod', podOf(facts)],
    ['Node', node],
    ['Cluster', clusterOf(facts)],
    ['Response', action === '' ? '' : `${action} ${phase}`],
    ['Time', iso(timeMs)],
    ['Verdict', verdictId],
  ];
  return fields.filter(([, value]) => value !== '');
}

/** https://api.slack.com/reference/block-kit/blocks; plain_text has no markup. */
function slack(facts: Facts): Body {
  const plain = (text: string, max = MAX_TEXT) => ({ type: 'plain_text', text: clip(text, max), emoji: false });
  return json({
    // Of notifications, where &, < and > begin markup.
    text: clip(escapeSlack(`${facts.level}: ${facts.title}`), MAX_TEXT),
    blocks: [
      { type: 'header', text: plain(facts.title, MAX_TITLE) },
      { type: 'section', text: plain(facts.summary) },
      { type: 'section', fields: fieldsOf(facts).map(([name, value]) => plain(`${name}: ${value}`)) },
    ],
  });
}

const escapeSlack = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Markdown that a text block of an Adaptive Card interprets. */
const escapeCard = (text: string) => text.replaceAll(/[\\[\]()*_~`#>!<-]/g, '\\$&');
const CARD_COLOR: Readonly<Record<string, string>> = { critical: 'Attention', high: 'Attention', medium: 'Warning' };

/** https://adaptivecards.io/schemas/adaptive-card.json, as a workflow of Teams takes it. */
function teams(facts: Facts): Body {
  const block = (text: string, more: object) => ({
    type: 'TextBlock',
    text: escapeCard(clip(text, MAX_TEXT)),
    wrap: true,
    ...more,
  });
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      block(facts.title, { weight: 'Bolder', size: 'Medium', color: CARD_COLOR[facts.level] ?? 'Default' }),
      block(facts.summary, {}),
      {
        type: 'FactSet',
        facts: fieldsOf(facts).map(([title, value]) => ({ title, value: escapeCard(clip(value, MAX_TEXT)) })),
      },
    ],
  };
  return json({
    type: 'message',
    attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content }],
  });
}

const PAGERDUTY_SEVERITY: Readonly<Record<string, string>> = { critical: 'critical', high: 'error', medium: 'warning' };

/** Events API v2: https://developer.pagerduty.com/docs/send-alert-event */
function pagerDuty(facts: Facts, routingKey: string): Body {
  return json({
    routing_key: routingKey,
    event_action: 'trigger',
    dedup_key: facts.verdictId || facts.uid,
    client: 'Bailiff',
    payload: {
      summary: clip(`${facts.title}: ${facts.summary}`, MAX_SUMMARY),
      source: podOf(facts) || `node ${facts.node}`,
      severity: PAGERDUTY_SEVERITY[facts.level] ?? 'info',
      timestamp: iso(facts.timeMs),
      component: facts.pod,
      group: facts.namespace,
      class: facts.rule,
      custom_details: Object.fromEntries(fieldsOf(facts)),
    },
  });
}
