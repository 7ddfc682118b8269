/**
 * Bounds and cells of the runtime ABI that deciding and compiling need, from the layout that libs/bpf reads off the compiled object.
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

/** Rules that one key of rt_paths, rt_values, rt_addresses holds. */
export const PATH_RULES = PathRulesLayout.rules.size / PathRuleLayout.size;
export const VALUE_RULES = ValueRulesLayout.rules.size / ValueRuleLayout.size;
export const ADDRESS_RULES = AddressRulesLayout.rules.size / AddressRuleLayout.size;

/** Cells behind those of a set's rules. */
export const { COUNTER_EXTRA } = CounterExtraValues;
/** + class * 2 + (0 audit, 1 block) */
export const { EXTRA_POSTURE } = CounterExtraValues;
/** + (0 audit, 1 block) */
export const { EXTRA_UNRESOLVED } = CounterExtraValues;

export const { SOURCE_SELF, SOURCE_CHILDREN } = SourceFlagValues;
