/** Output of `config history` and `policy history`: the revisions of a key. */

import { clockTime, isoMicros } from '@bailiff/insight';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import type { Session } from '../session.ts';
import type { Column } from '../text/table.ts';
import { changeOf, readHistory } from './history.ts';
import { ownerJson, ownerText } from './owner.ts';
import { signedJson, signerName } from './signed.ts';

const HISTORY_COLUMNS: readonly Column[] = [
  { title: 'REVISION', align: 'right' },
  { title: 'TIME (UTC)' },
  { title: 'LINES' },
  { title: 'OWNER', min: 12, cut: 'within' },
  { title: 'SIGNED AS', spare: true },
  { title: 'BY', min: 10 },
  { title: 'WHY', min: 12 },
  { title: 'LOG', align: 'right', spare: true },
];

export async function showHistory(session: Session, key: ConfigKey, json: boolean): Promise<void> {
  const { out } = session;
  const revisions = await readHistory(session, key);
  if (json) {
    for (const { storedAtMicros, value, text: _stored, owner, released, signature, ...rest } of revisions) {
      out.jsonLine({
        ...rest,
        keptBy: ownerJson({ owner, released }),
        storedAt: isoMicros(storedAtMicros),
        signed: signedJson({ signature }),
        deleted: value === undefined,
        value: value ?? null,
      });
    }
    return;
  }
  if (revisions.length === 0) return out.note(`${formatConfigKey(key)}: no value was ever stored`);
  out.rows(HISTORY_COLUMNS, revisions, (one, nowMs, index) => [
    one.value === undefined ? '-' : String(one.revision),
    clockTime(one.storedAtMicros, nowMs),
    changeOf(revisions[index - 1], one),
    ownerText(one),
    signerName(one),
    one.by,
    one.why,
    `#${one.sequence}`,
  ]);
}
