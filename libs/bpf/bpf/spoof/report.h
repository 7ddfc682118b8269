/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Applies the modes of the violated vectors: decides, counts, and then tries to emit a sample.
 *
 * Place in the data path: checks.h, quarantine.h → here → return value of the program, `counters`,
 * `samples`.
 * Invariants: sampling cannot change the decision. Counts are exact: atomic adds into an entry that
 * user space created before the attach. A violation that is not counted or sampled
 * adds to `losses`. A flood uses up the sampling tokens of one interface only.
 */
#ifndef BAILIFF_REPORT_H
#define BAILIFF_REPORT_H

#include "../token-bucket.h"
#include "maps.h"
#include "packet.h"

#define NO_VECTOR VECTOR_SLOTS

static __always_inline void count_loss(enum loss loss)
{
	__u32 index = loss;
	__u64 *count = bpf_map_lookup_elem(&losses, &index);

	if (count)
		(*count)++;
}

/* A frame that is judged. */
static __always_inline void count_seen(__u32 slot)
{
	__u64 *count = bpf_map_lookup_elem(&seen, &slot);

	if (count)
		(*count)++;
}

static __always_inline const struct settings *read_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline __u32 segments(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

static __always_inline void count(const struct iface *iface, struct __sk_buff *skb, __u32 ifindex,
				  __u32 vector, __u32 action)
{
	struct counter_key key = { .ifindex = ifindex, .generation = iface->generation };
	struct counters *entry = bpf_map_lookup_elem(&counters, &key);
	__u32 state = iface->state;
	struct counter_cell *cell;

	if (!entry || vector >= VECTOR_SLOTS || action >= ACTION_COUNT || state >= STATE_COUNT) {
		count_loss(LOSS_NO_COUNTER);
		return;
	}
	cell = &entry->cells[vector][action][state];
	__sync_fetch_and_add(&cell->packets, segments(skb));
	__sync_fetch_and_add(&cell->skbs, 1);
	__sync_fetch_and_add(&cell->bytes, skb->len);
}

enum admission { ADMIT_NONE, ADMIT_BY_TOKEN, ADMIT_FIRST };

/*
 * Tokens that samples of what others cause leave: they could use up what the pod's own violations
 * need.
 */
static __always_inline __u32 tokens_kept(__u32 burst, bool caused)
{
	return caused ? burst / 2 : 0;
}

/*
 * Detects a bucket without a token to take, without the lock. During a flood it returns true for almost every packet
 * on every CPU. If another CPU refills the bucket at the same time, a sample is lost, never a count.
 */
static __always_inline bool is_empty(const struct token_bucket *bucket, __u32 generation, __u32 bit,
				     __u64 now, __u32 rate, __u32 kept)
{
	const volatile struct token_bucket *shared = bucket;
	__u64 elapsed = now - shared->refilled_ns;

	return shared->generation == generation && shared->marks & bit && shared->tokens <= kept &&
	       elapsed < MAX_REFILL_NS && elapsed * rate < NSEC_PER_SEC;
}

/* Takes a token for a sample. The lock covers a few instructions and no helper call. */
static __always_inline enum admission admit_sample(const struct iface *iface, __u32 vector,
						   __u64 now, bool caused)
{
	const struct settings *set = read_settings();
	__u32 slot = iface->slot, bit = VECTOR_BIT(vector & 31);
	struct token_bucket *bucket = bpf_map_lookup_elem(&buckets, &slot);
	enum admission admission = ADMIT_NONE;
	__u32 burst, rate, kept;

	if (!bucket || !set)
		return ADMIT_NONE;
	burst = iface->sample_burst ? iface->sample_burst : set->sample_burst;
	rate = iface->samples_per_second ? iface->samples_per_second : set->samples_per_second;

	kept = tokens_kept(burst, caused);
	if (is_empty(bucket, iface->generation, bit, now, rate, kept))
		return ADMIT_NONE;

	bpf_spin_lock(&bucket->lock);
	refill_tokens(bucket, iface->generation, now, rate, burst);
	if (!(bucket->marks & bit)) {
		bucket->marks |= bit;
		admission = ADMIT_FIRST;
	} else if (bucket->tokens > kept && take_token(bucket)) {
		admission = ADMIT_BY_TOKEN;
	}
	bpf_spin_unlock(&bucket->lock);
	return admission;
}

/*
 * Clears the mark of the first sample if the ring had no room for it. The next violation of the
 * vector then gets a first sample.
 */
static __always_inline void unmark_sampled(const struct iface *iface, __u32 vector)
{
	__u32 slot = iface->slot;
	struct token_bucket *bucket = bpf_map_lookup_elem(&buckets, &slot);

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	if (bucket->generation == iface->generation)
		bucket->marks &= ~VECTOR_BIT(vector & 31);
	bpf_spin_unlock(&bucket->lock);
}

static __always_inline void fill_expected(struct spoof_sample *sample, const struct iface *iface,
					  __be16 ether_type)
{
	union address expected = {};

	if (iface->flags & IFACE_HAS_MAC)
		__builtin_memcpy(sample->expected_mac, iface->mac, sizeof(sample->expected_mac));
	if (ether_type == bpf_htons(ETH_P_IPV6)) {
		if (iface->flags & IFACE_HAS_IPV6)
			__builtin_memcpy(&expected, iface->ipv6, sizeof(expected));
	} else if (iface->flags & IFACE_HAS_IPV4) {
		mapped_address(&expected, iface->ipv4);
	}
	__builtin_memcpy(sample->expected_address, &expected, sizeof(expected));
}

#define MAC_BYTES 12 /* destination and source, before a tag */
#define HEAD_REST (SAMPLE_HEAD_BYTES - MAC_BYTES)

/*
 * Copies the start of the frame as it was sent, with the tag that the kernel moved into the
 * metadata.
 */
static __always_inline void fill_head(struct spoof_sample *sample, struct __sk_buff *skb)
{
	__u8 *to = sample->head + MAC_BYTES;
	__u32 rest = skb->len - MAC_BYTES;

	if (skb->len <= MAC_BYTES || bpf_skb_load_bytes(skb, 0, sample->head, MAC_BYTES))
		return;
	if (skb->vlan_present) {
		struct vlan_hdr *tag = (struct vlan_hdr *)to;

		tag->h_vlan_TCI = skb->vlan_proto; /* the protocol id precedes the tag */
		tag->h_vlan_encapsulated_proto = bpf_htons(skb->vlan_tci);
		if (rest > HEAD_REST - sizeof(*tag))
			rest = HEAD_REST - sizeof(*tag);
		if (copy_bytes(skb, MAC_BYTES, to + sizeof(*tag), rest, HEAD_REST - sizeof(*tag)))
			sample->head_length = MAC_BYTES + sizeof(*tag) + rest;
		return;
	}
	if (rest > HEAD_REST)
		rest = HEAD_REST;
	if (copy_bytes(skb, MAC_BYTES, to, rest, HEAD_REST))
		sample->head_length = MAC_BYTES + rest;
}

/* `how`: the action, and SAMPLE_* flags from bit 1 on. */
__noinline int emit_event(struct __sk_buff *skb, const struct iface *iface,
			  const struct packet *packet, __u32 vector, __u32 how)
{
	struct spoof_sample *sample;
	enum admission admission;

	if (!iface || !packet)
		return 0;
	/* In a flood almost no packet gets further. The exact clock took a quarter of a drop. */
	admission = admit_sample(iface, vector, bpf_ktime_get_coarse_ns(),
				 how >> 1 & SAMPLE_EGRESS || vector == VECTOR_OTHER_INTERFACE);
	if (admission == ADMIT_NONE)
		return 0;
	sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		count_loss(LOSS_RING_FULL);
		if (admission == ADMIT_FIRST)
			unmark_sampled(iface, vector);
		return 0;
	}
	__builtin_memset(sample, 0, sizeof(*sample));
	sample->boottime_ns = bpf_ktime_get_boot_ns();
	sample->cgroup_id = bpf_skb_cgroup_id(skb);
	sample->socket_cookie = bpf_get_socket_cookie(skb);
	sample->ifindex = packet->ifindex;
	sample->generation = iface->generation;
	sample->length = skb->len;
	sample->gso_segments = segments(skb);
	sample->vector = vector;
	sample->action = how & 1;
	sample->state = iface->state;
	sample->flags = how >> 1;
	if (admission == ADMIT_FIRST)
		sample->flags |= SAMPLE_FIRST;
	if (packet->has_addresses) {
		sample->flags |= SAMPLE_ADDRESSES;
		__builtin_memcpy(sample->claimed_address,
				 vector == VECTOR_ND_TARGET ? &packet->target : &packet->source,
				 sizeof(sample->claimed_address));
		__builtin_memcpy(sample->destination_address, &packet->destination,
				 sizeof(sample->destination_address));
		if (packet->ether_type != bpf_htons(ETH_P_ARP))
			sample->l4_protocol = packet->protocol;
	}
	sample->ether_type = packet->ether_type;
	sample->source_port = packet->source_port;
	sample->destination_port = packet->destination_port;
	__builtin_memcpy(sample->claimed_mac, packet->source_mac, sizeof(sample->claimed_mac));
	if (!(sample->flags & SAMPLE_EGRESS))
		fill_expected(sample, iface, packet->ether_type);
	fill_head(sample, skb);
	bpf_ringbuf_submit(sample, 0);
	return 0;
}

static __always_inline void report(struct __sk_buff *skb, const struct iface *iface,
				   const struct packet *packet, __u32 vector, __u32 action,
				   __u32 flags)
{
	count(iface, skb, packet->ifindex, vector, action);
	emit_event(skb, iface, packet, vector, action | flags << 1);
}

static __always_inline __u32 mode_of(const struct iface *iface, __u32 vector, bool armed)
{
	__u32 mode = iface->modes[vector];

	if (vector == VECTOR_UNKNOWN_INTERFACE) {
		const struct settings *set = read_settings();

		mode = set ? set->unknown_mode : MODE_OFF;
	}
	return mode == MODE_ENFORCE && !armed ? MODE_AUDIT : mode;
}

/*
 * The vectors in the order in which modes are applied. VECTOR_OTHER_INTERFACE comes before all that
 * an answer of the pod can violate besides: others chose what is answered.
 */
static __always_inline __u32 vector_at(__u32 place)
{
	if (place < VECTOR_REDIRECT || place > VECTOR_OTHER_INTERFACE)
		return place;
	return place == VECTOR_REDIRECT ? VECTOR_OTHER_INTERFACE : place - 1;
}

/*
 * Applies the modes to packet->violations in the order of the vectors (rules.md), reports the
 * result, and returns TCX_NEXT or TCX_DROP.
 */
__noinline int apply_modes(struct __sk_buff *skb, const struct iface *iface, struct packet *packet,
			   __u32 flags)
{
	__u32 audited = NO_VECTOR, enforced = NO_VECTOR;
	bool armed;

	if (!iface || !packet)
		return TCX_NEXT;
	armed = !iface->audit_until_ns || bpf_ktime_get_boot_ns() >= iface->audit_until_ns;
	for (__u32 place = 0; place < VECTOR_COUNT; place++) {
		__u32 mode, vector = vector_at(place);

		if (!(packet->violations & VECTOR_BIT(vector)))
			continue;
		mode = mode_of(iface, vector, armed);
		if (mode == MODE_ENFORCE) {
			enforced = hide_bounds(packet, vector);
			break;
		}
		if (mode == MODE_AUDIT && audited == NO_VECTOR)
			audited = hide_bounds(packet, vector);
	}
	if (audited != NO_VECTOR)
		report(skb, iface, packet, audited, ACTION_AUDIT, flags);
	if (enforced == NO_VECTOR)
		return TCX_NEXT;
	packet->dropped_as = enforced;
	report(skb, iface, packet, enforced, ACTION_DROP, flags);
	return TCX_DROP;
}

/* A packet of an interface without a record. */
static __noinline int handle_missing_record(void)
{
	const struct settings *set = read_settings();

	count_loss(LOSS_NO_IFACE);
	return set && set->unknown_mode == MODE_ENFORCE ? TCX_DROP : TCX_NEXT;
}

#endif
