/**
 * Limits and counter cells of the runtime ABI for the compiler and the model. libs/bpf reads them
 * from the BTF of the compiled object.
 */
import {
  AddressRuleLayout,
  AddressRulesLayout,
  CounterExtraValues,
  PathRuleLayout,
  PathRulesLayout,
  SourceFlagValues,
  ValueRuleLayout,
  ValueRulesLayout,
} from '@bailiff/bpf/runtime-layout';

/** Number of rules that one key of rt_paths, rt_values or rt_addresses holds. */
export const PATH_RULES = PathRulesLayout.rules.size / PathRuleLayout.size;
export const VALUE_RULES = ValueRulesLayout.rules.size / ValueRuleLayout.size;
export const ADDRESS_RULES = AddressRulesLayout.rules.size / AddressRuleLayout.size;

/** Further cells, after the cells of a set's rules. */
export const { COUNTER_EXTRA } = CounterExtraValues;
/** Posture cells; add class * 2, and 1 for `block`. */
export const { EXTRA_POSTURE } = CounterExtraValues;
/** Cells of unresolved paths; add 1 for `block`. */
export const { EXTRA_UNRESOLVED } = CounterExtraValues;

export const { SOURCE_SELF, SOURCE_CHILDREN } = SourceFlagValues;
