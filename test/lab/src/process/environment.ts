/** Environment of a lab's services and servers. */

/** Settings of services in the shell are removed; the lab sets its own. */
const SETTING = /^BAILIFF_(BUS_AUTH|COLLECTOR|CORRELATOR|EVIDENCE_LOG|IPAM_SYNC|RESPONDER|SIEM_RELAY)_/;
/** Redis does not start with a missing locale, and ssh forwards locale names between machines. */
const LANGUAGE = { LC_ALL: 'C' };

/** @param given variables of the lab, which take precedence */
export function serviceEnvironment(
  callers: Readonly<Record<string, string | undefined>>,
  given: Readonly<Record<string, string>> = {},
): Record<string, string | undefined> {
  const kept = Object.entries(callers).filter(([name]) => !SETTING.test(name));
  return { ...Object.fromEntries(kept), ...LANGUAGE, ...given };
}
