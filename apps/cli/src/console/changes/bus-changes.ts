/** Changes on the page of `bailiff console`: with the login of its user, as the commands write them. */
import type { Changes } from '@bailiff/console';
import { ConfigError, type ConfigSigner } from '@bailiff/policy';
import { type Change, isUnchanged, refuseUnread, writeAll } from '../../shared/config/change.ts';
import { ownerText, refuseOwned } from '../../shared/config/owner.ts';
import { CliError } from '../../shared/errors.ts';
import type { Session } from '../../shared/session.ts';
import { reading } from '../reading.ts';
import { changeOf, proposalOf, storedByKey } from './proposal.ts';

/** The revision that a proposal was made from. */
const basisOf = ({ stored }: Change): string => String(stored?.bucketRevision ?? 0);

/** @param sign signs the changes; absent: they are unsigned */
export function busChanges(session: Session, sign?: ConfigSigner): Changes {
  const { operator } = session.io;
  const refuse = (change: Change) => {
    refuseOwned(change.stored, false);
    // The page shows the difference alone.
    refuseUnread({ ...change, basis: change.stored }, sign);
  };
  return {
    whyNot: async (keys) => {
      const stored = await storedByKey(session);
      return new Map(
        keys.map((key) => {
          const one = stored.get(key);
          const isOwned = one?.owner && !one.released;
          return [key, isOwned ? `the custom resource ${ownerText(one)} owns it: change that with kubectl` : ''];
        }),
      );
    },
    propose: async (request, _guest, signal) => {
      const reader = reading(session, signal);
      const change = await changeOf(reader, request);
      refuse(change);
      return proposalOf(reader, change, operator, basisOf(change));
    },
    apply: async ({ basis, reason, ...request }, _guest, signal) => {
      const change = await changeOf(reading(session, signal), request);
      refuse(change);
      if (basisOf(change) !== basis)
        throw new ConfigError('CONFIG_REVISION', `${request.key} was changed since you saw it; nothing was written`);
      if (isUnchanged(change, {})) throw new CliError('CLI_STATE', `${request.key}: nothing to change`);
      const [outcome] = await writeAll(session, [change], {
        reason,
        by: operator,
        ...(sign ? { sign } : {}),
      });
      const revision = outcome && 'revision' in outcome ? outcome.revision : 0;
      return { text: `Written as revision ${revision} by ${operator}`, isWritten: true, notes: [] };
    },
  };
}
