// SPDX-License-Identifier: Apache-2.0
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cairn/serve/api/records.h"

namespace cairn::api {
namespace {

using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<std::string, std::string>>;

// Those of vLLM.
const Histogram::BucketBoundaries kFirstToken = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                                 1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
const Histogram::BucketBoundaries kPerToken = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                               0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
const Histogram::BucketBoundaries kRequest = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,  15,
                                              20,  30,  40,  50, 60,  120, 240, 480, 960, 1920};

// Families of figures that the backend counts itself, so that they are copied instead of counted twice.
class Copied {
 public:
  void gauge(const char* name, const char* help, double value, Labels labels = {}) {
    add(MetricType::Gauge, name, help, value, std::move(labels));
  }
  void counter(const char* name, const char* help, std::uint64_t value, Labels labels = {}) {
    add(MetricType::Counter, name, help, static_cast<double>(value), std::move(labels));
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  void add(MetricType type, const char* name, const char* help, double value, Labels labels) {
    const std::string full = std::string("cairn:") + name;
    auto family = std::ranges::find(families_, full, &MetricFamily::name);
    if (family == families_.end()) family = families_.insert(families_.end(), MetricFamily{full, help, type, {}});
    prometheus::ClientMetric metric;
    for (auto& [label, text] : labels) metric.label.push_back({std::move(label), std::move(text)});
    (type == MetricType::Gauge ? metric.gauge.value : metric.counter.value) = value;
    family->metric.push_back(std::move(metric));
  }

  std::vector<MetricFamily> families_;
};

void copy_loop(const LoopState& state, Copied& to) {
  to.gauge("num_requests_running", "Requests that have a sequence", static_cast<double>(state.running));
  to.gauge("num_requests_waiting", "Requests that wait for room", static_cast<double>(state.waiting));
  to.counter("passes_total", "Passes over the weights", state.passes);
  to.counter("prefill_rows_total", "Rows of passes that computed prompts", state.prefill_rows);
  to.counter("decode_rows_total", "Rows of passes that computed answers", state.decode_rows);
  to.counter("num_preemptions_total", "Requests that were preempted to make room", state.preempted);
  to.counter("requests_finished_total", "Requests that ended by themselves", state.finished);
  to.counter("requests_cancelled_total", "Requests whose client went away", state.cancelled);
  to.counter("requests_failed_total", "Requests that ended with an error", state.failed);
  to.counter("requests_refused_total", "Requests that were not taken", state.refused);
}

void copy_tenant(const TenantState& tenant, Copied& to) {
  const Labels of = {{"tenant", tenant.name}};
  const Labels memory = {{"tenant", tenant.name}, {"tier", "memory"}};
  to.counter("prompt_tokens_total", "Tokens of prompts", tenant.prompt_tokens, of);
  to.counter("generation_tokens_total", "Tokens of answers", tenant.generated_tokens, of);
  to.counter("prefix_cache_queries_total", "Tokens of prompts that were looked up", tenant.prompt_tokens, of);
  to.counter("prefix_cache_hits_total", "Tokens of prompts that were not computed", tenant.cached_tokens, of);
  to.counter("stored_tokens_total", "Those of them that came from a store", tenant.stored_tokens, of);
  to.gauge("tenant_requests_running", "Requests of a tenant that have a sequence", static_cast<double>(tenant.running),
           of);
  to.gauge("tenant_requests_waiting", "Requests of a tenant that wait", static_cast<double>(tenant.waiting), of);
  to.gauge("kv_bytes", "Bytes of keys and values", static_cast<double>(tenant.cache.bytes_used), memory);
  to.gauge("kv_budget_bytes", "The most they may be", static_cast<double>(tenant.kv_budget), memory);
  to.gauge("kv_sheet_bytes", "Of these, sheets of cached prefixes, which policies choose by",
           static_cast<double>(tenant.cache.sheet_bytes), of);
  to.gauge("kv_offloaded_bytes", "Bytes of keys and values that policies moved out of the budget",
           static_cast<double>(tenant.cache.bytes_offloaded), of);
  const KeptPrefixStats& kept = tenant.cache.kept;
  to.gauge("kept_prefixes", "What sequences under a policy kept of prompts, for others",
           static_cast<double>(kept.prefixes), of);
  to.gauge("kept_prefix_bytes", "Bytes of these, each page once and those included that sequences hold too",
           static_cast<double>(kept.bytes), of);
  to.counter("kept_prefix_hits_total", "Sequences that began with one", kept.hits, of);
  to.counter("kept_prefix_tokens_total", "Tokens of prompts that were not computed for that", kept.tokens_matched, of);
  to.counter("kept_prefix_evictions_total", "Those that went for want of room", kept.evictions, of);
  if (tenant.kv_budget > 0) {
    to.gauge("kv_cache_usage_perc", "Share of the budget in use, 1 is all of it",
             static_cast<double>(tenant.cache.bytes_used) / static_cast<double>(tenant.kv_budget), of);
  }
}

void copy_store(const StoreStats& store, Copied& to) {
  for (const StoreStats::PerTier& tier : store.tiers) {
    const Labels all = {{"tenant", "all"}, {"tier", tier.name}};
    const Labels of = {{"tier", tier.name}};
    to.gauge("kv_bytes", "", static_cast<double>(tier.stats.bytes), all);
    to.gauge("kv_budget_bytes", "", static_cast<double>(tier.stats.budget), all);
    to.counter("store_hits_total", "Blocks that a tier had", tier.stats.hits, of);
    to.counter("store_misses_total", "Blocks that a tier did not have", tier.stats.misses, of);
    to.counter("store_evictions_total", "Blocks that a tier let go of", tier.stats.evictions, of);
    to.counter("store_read_bytes_total", "Bytes read from a tier", tier.stats.bytes_read, of);
    to.counter("store_written_bytes_total", "Bytes written to a tier", tier.stats.bytes_written, of);
    to.gauge("store_resting", "1 while a tier is left alone after a failure", tier.resting ? 1 : 0, of);
  }
  to.counter("store_writes_dropped_total", "Blocks that were not written since the queue was full",
             store.writes_dropped);
  to.counter("store_writes_failed_total", "Blocks that a tier had no room for, or did not take", store.writes_failed);
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  Histogram& histogram(const char* name, const char* help, const Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram()
        .Name(std::string("cairn:") + name)
        .Help(help)
        .Register(registry)
        .Add({}, buckets);
  }
  prometheus::Family<prometheus::Counter>& counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(std::string("cairn:") + name).Help(help).Register(registry);
  }
  Histogram& first_token = histogram("time_to_first_token_seconds", "Until the first token of an answer", kFirstToken);
  Histogram& per_token = histogram("time_per_output_token_seconds", "Per token after the first", kPerToken);
  Histogram& request = histogram("e2e_request_latency_seconds", "Until the end of an answer", kRequest);
  Histogram& queue = histogram("request_queue_time_seconds", "Until a request had a sequence", kRequest);
  Histogram& prefill = histogram("request_prefill_time_seconds", "Computing the prompt", kRequest);
  prometheus::Family<prometheus::Counter>& success = counters("request_success_total", "Answers by how they ended");
  prometheus::Family<prometheus::Counter>& http = counters("http_requests_total", "Replies by endpoint and status");
  prometheus::Family<prometheus::Counter>& gone =
      counters("client_gone_total", "Clients that left before their answer");
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::observe(const RequestRecord& record) {
  impl_->http.Add({{"endpoint", record.endpoint}, {"status", std::to_string(record.status)}}).Increment();
  if (record.client_gone) impl_->gone.Add({}).Increment();
  if (!record.generated || record.status != 200) return;
  impl_->success.Add({{"finished_reason", record.reason}}).Increment();
  const GenerationTiming& timing = record.timing;
  impl_->queue.Observe(timing.queued_s);
  impl_->prefill.Observe(timing.prefill_s);
  impl_->request.Observe(timing.total_s);
  if (record.usage.completion_tokens == 0) return;
  impl_->first_token.Observe(timing.first_token_s);
  const std::size_t later = record.usage.completion_tokens / std::max<std::size_t>(record.choices, 1);
  if (later > 1) impl_->per_token.Observe((timing.total_s - timing.first_token_s) / static_cast<double>(later - 1));
}

std::string Metrics::text(const GenerateBackend& backend, const std::optional<std::string>& tenant) const {
  std::vector<MetricFamily> families;
  const LoopState state = backend.state();
  Copied copied;
  // Figures of the whole server would tell one tenant what the others do.
  if (!tenant) {
    families = impl_->registry.Collect();
    copy_loop(state, copied);
  }
  for (const TenantState& one : state.tenants) {
    if (!tenant || one.name == *tenant) copy_tenant(one, copied);
  }
  if (Store* store = backend.store(); store != nullptr && !tenant) copy_store(store->stats(), copied);
  std::ranges::move(copied.take(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace cairn::api
