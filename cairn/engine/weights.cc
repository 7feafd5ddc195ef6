// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/weights.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "cairn/engine/model_tensors.h"
#include "cairn/engine/rope_metadata.h"
#include "cairn/kernels/panel.h"

namespace cairn {
namespace {

constexpr std::size_t kAlignment = 4096;  // of each matrix, so that streams begin on a page

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::uint32_t panel_count(std::uint64_t rows) {
  return static_cast<std::uint32_t>((rows + kPanelRows - 1) / kPanelRows);
}

// 0 for formats that this build does not know.
std::size_t panel_bytes_of(const GgufTensor& tensor) {
  const auto format = tensor.format();
  return format ? panel_bytes(*format, static_cast<std::uint32_t>(tensor.cols())) : 0;
}

// What a tensor of several matrices may need beyond its panels: each of them ends on a panel and on a page of its own.
std::size_t room_for_cuts(const GgufTensor& tensor, std::size_t matrices) {
  if (tensor.num_dims > 2) matrices = tensor.dims[2];
  return matrices * (panel_bytes_of(tensor) + kAlignment);
}

}  // namespace

// Takes tensors over one by one and keeps count.
class ModelWeights::Loader {
 public:
  Loader(ModelWeights& model, ThreadPool& pool, const std::function<void(double)>& progress)
      : model_(model), pool_(pool), progress_(progress), digest_(model.config_) {}

  Status reserve() {
    std::size_t bytes = 0;
    for (const GgufTensor& tensor : model_.file_.tensors()) {
      total_ += tensor.data.size();
      if (&tensor == model_.embedding_ && !model_.config_.tied_output) continue;
      bytes += aligned(panel_bytes_of(tensor) * panel_count(tensor.rows()));
      const ModelConfig& config = model_.config_;
      const LatentSpec& latent = config.latent;
      const bool cut = config.fused || latent.rank != 0 || tensor.num_dims > 2;
      if (cut) bytes += room_for_cuts(tensor, std::max(3u, config.heads));
      if (tensor.name.ends_with("attn_kv_b.weight")) {  // whose keys are turned
        bytes += config.heads * aligned(panel_bytes(WeightFormat::kF32, latent.plain) * panel_count(latent.rank));
      }
    }
    if (bytes == 0) return {};
    const std::size_t physical =
        static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (bytes > physical) {  // address space is granted beyond what there is, and the system would end us later
      return fail(ErrorCode::kOutOfBudget, "the weights need " + std::to_string(bytes >> 20) +
                                               " MiB, but this machine has " + std::to_string(physical >> 20) +
                                               "; use a smaller model");
    }
    model_.panels_ = MappedMemory(bytes);
    if (model_.panels_.data() == nullptr) {
      return fail(ErrorCode::kOutOfBudget, "no memory for " + std::to_string(bytes >> 20) + " MiB of weights");
    }
    next_ = model_.panels_.data();
    return {};
  }

  Result<std::vector<float>> vector(std::string_view name) {
    const GgufTensor* tensor = model_.file_.find_tensor(name);
    if (tensor == nullptr) return std::vector<float>{};
    auto values = tensor->to_f32();
    if (values) model_.bytes_ += values->size() * sizeof(float);
    CAIRN_TRY_VOID(took(*tensor));
    return values;
  }

  Result<Linear> matrix(std::string_view name) {
    CAIRN_TRY(std::vector<Linear> whole, parts(name, {}));
    return std::move(whole.front());
  }

  // A tensor of several matrices, by the rows of each; none: the tensor is one. Requires: they make up the tensor.
  Result<std::vector<Linear>> parts(std::string_view name, std::vector<std::uint64_t> rows) {
    const GgufTensor* tensor = model_.file_.find_tensor(name);
    if (tensor == nullptr) return fail(ErrorCode::kNotFound, "the model lacks tensor '" + std::string(name) + "'");
    CAIRN_TRY(const WeightFormat format, tensor->format());
    CAIRN_TRY_VOID(took(*tensor));
    if (rows.empty()) rows = {tensor->rows()};
    const std::size_t row_bytes = tensor->data.size() / tensor->rows();
    std::vector<Linear> matrices;
    std::size_t first = 0;
    for (const std::uint64_t count : rows) {
      const auto data = tensor->data.subspan(first * row_bytes, count * row_bytes);
      first += count;
      matrices.push_back(
          take(format, static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(tensor->cols()), data));
    }
    model_.file_.release(*tensor);
    return matrices;
  }

  // A feed-forward whose gate and up may be one tensor.
  Result<GatedFfn> feed_forward(const std::string& gate, const std::string& up, const std::string& down) {
    GatedFfn ffn;
    if (model_.file_.find_tensor(gate) != nullptr) {
      CAIRN_TRY(ffn.gate, matrix(gate));
      CAIRN_TRY(ffn.up, matrix(up));
    } else {
      const GgufTensor* both = model_.file_.find_tensor(up);
      if (both == nullptr) return fail(ErrorCode::kNotFound, "the model lacks tensor '" + up + "'");
      CAIRN_TRY(std::vector<Linear> halves, parts(up, {both->rows() / 2, both->rows() / 2}));
      ffn.gate = std::move(halves[0]);
      ffn.up = std::move(halves[1]);
    }
    CAIRN_TRY(ffn.down, matrix(down));
    return ffn;
  }

  // The products that attention on latents takes into queries and outputs.
  Status absorbed(std::uint32_t l, LatentWeights& layer) {
    const LatentSpec& spec = model_.config_.latent;
    const std::uint32_t heads = model_.config_.heads;
    if (spec.split) {
      CAIRN_TRY(layer.k_b, parts(layer_tensor(l, "attn_k_b.weight"), std::vector<std::uint64_t>(heads, spec.rank)));
      CAIRN_TRY(layer.v_b, parts(layer_tensor(l, "attn_v_b.weight"), std::vector<std::uint64_t>(heads, spec.value)));
      return {};
    }
    // Older files have both as they would expand a latent: rows of keys and rows of values for each head in turn.
    const GgufTensor& both = *model_.file_.find_tensor(layer_tensor(l, "attn_kv_b.weight"));
    CAIRN_TRY(const WeightFormat format, both.format());
    CAIRN_TRY(const std::vector<float> values, both.to_f32());
    CAIRN_TRY_VOID(took(both));
    const std::size_t row_bytes = both.data.size() / both.rows();
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t first = h * (spec.plain + spec.value);
      std::vector<float> turned(std::size_t{spec.rank} * spec.plain);
      for (std::size_t i = 0; i < turned.size(); ++i) {
        turned[i] = values[(first + i % spec.plain) * spec.rank + i / spec.plain];
      }
      layer.k_b.push_back(take(WeightFormat::kF32, spec.rank, spec.plain, std::as_bytes(std::span(turned))));
      layer.v_b.push_back(take(format, spec.value, spec.rank,
                               both.data.subspan((first + spec.plain) * row_bytes, spec.value * row_bytes)));
    }
    model_.file_.release(both);
    return {};
  }

  Status latent_attention(std::uint32_t l, LatentWeights& layer) {
    const auto name = [l](std::string_view what) { return layer_tensor(l, what); };
    if (model_.config_.latent.q_rank == 0) {
      CAIRN_TRY(layer.q, matrix(name("attn_q.weight")));
    } else {
      CAIRN_TRY(layer.q_a, matrix(name("attn_q_a.weight")));
      CAIRN_TRY(layer.q_a_norm, vector(name("attn_q_a_norm.weight")));
      CAIRN_TRY(layer.q, matrix(name("attn_q_b.weight")));
    }
    CAIRN_TRY(layer.kv_a, matrix(name("attn_kv_a_mqa.weight")));
    CAIRN_TRY(layer.kv_a_norm, vector(name("attn_kv_a_norm.weight")));
    return absorbed(l, layer);
  }

  Status attention(std::uint32_t l, LayerWeights& layer) {
    const LayerSpec& spec = model_.config_.each_layer[l].cache;
    const auto name = [l](std::string_view what) { return layer_tensor(l, what); };
    CAIRN_TRY(layer.attn_norm, vector(name("attn_norm.weight")));
    if (model_.config_.latent.rank != 0) {
      CAIRN_TRY(layer.output, matrix(name("attn_output.weight")));
      return latent_attention(l, layer.latent);
    }
    if (model_.config_.post_norms) {
      CAIRN_TRY(layer.attn_post_norm, vector(name("post_attention_norm.weight")));
    }
    CAIRN_TRY(layer.q_bias, vector(name("attn_q.bias")));
    CAIRN_TRY(layer.q_norm, vector(name("attn_q_norm.weight")));
    CAIRN_TRY(layer.output, matrix(name("attn_output.weight")));
    CAIRN_TRY(layer.output_bias, vector(name("attn_output.bias")));
    CAIRN_TRY(layer.sinks, vector(name("attn_sinks.weight")));
    const bool own_keys = spec.kv_map == l;
    if (own_keys) {
      CAIRN_TRY(layer.k_bias, vector(name("attn_k.bias")));
      CAIRN_TRY(layer.v_bias, vector(name("attn_v.bias")));
      CAIRN_TRY(layer.k_norm, vector(name("attn_k_norm.weight")));
    }
    if (model_.config_.fused) {
      const std::uint64_t kv_width = spec.shape.values_per_token();
      const std::uint64_t q_width = std::uint64_t{model_.config_.heads} * spec.shape.head_dim;
      CAIRN_TRY(std::vector<Linear> qkv, parts(name("attn_qkv.weight"), {q_width, kv_width, kv_width}));
      layer.q = std::move(qkv[0]);
      layer.k = std::move(qkv[1]);
      layer.v = std::move(qkv[2]);
      return {};
    }
    CAIRN_TRY(layer.q, matrix(name("attn_q.weight")));
    if (!own_keys) return {};
    CAIRN_TRY(layer.k, matrix(name("attn_k.weight")));
    CAIRN_TRY(layer.v, matrix(name("attn_v.weight")));
    return {};
  }

  Status feed_forward(std::uint32_t l, LayerWeights& layer) {
    const ExpertSpec& spec = model_.config_.experts;
    const auto name = [l](std::string_view what) { return layer_tensor(l, what); };
    CAIRN_TRY(layer.ffn_norm, vector(ffn_norm_tensor(model_.config_, l)));
    CAIRN_TRY(layer.ffn_post_norm, vector(name("post_ffw_norm.weight")));
    if (!model_.config_.each_layer[l].mixed) {
      CAIRN_TRY(layer.ffn, feed_forward(name("ffn_gate.weight"), name("ffn_up.weight"), name("ffn_down.weight")));
      return {};
    }
    CAIRN_TRY(layer.router, matrix(name("ffn_gate_inp.weight")));
    const std::vector<std::uint64_t> inside(spec.count, spec.ffn), outside(spec.count, model_.config_.width);
    CAIRN_TRY(std::vector<Linear> gates, parts(name("ffn_gate_exps.weight"), inside));
    CAIRN_TRY(std::vector<Linear> ups, parts(name("ffn_up_exps.weight"), inside));
    CAIRN_TRY(std::vector<Linear> downs, parts(name("ffn_down_exps.weight"), outside));
    for (std::uint32_t e = 0; e < spec.count; ++e) {
      layer.experts.push_back({std::move(gates[e]), std::move(ups[e]), std::move(downs[e])});
    }
    if (spec.biases) CAIRN_TRY_VOID(expert_biases(l, layer));
    CAIRN_TRY(layer.choice_bias, vector(name("exp_probs_b.bias")));
    if (spec.shared_ffn == 0) return {};
    if (spec.shared_gate) {
      CAIRN_TRY(layer.shared_gate, matrix(name("ffn_gate_inp_shexp.weight")));
    }
    CAIRN_TRY(layer.shared,
              feed_forward(name("ffn_gate_shexp.weight"), name("ffn_up_shexp.weight"), name("ffn_down_shexp.weight")));
    return {};
  }

  Status expert_biases(std::uint32_t l, LayerWeights& layer) {
    CAIRN_TRY(layer.router_bias, vector(layer_tensor(l, "ffn_gate_inp.bias")));
    const auto share = [&](std::string_view what, std::vector<float> GatedFfn::*bias) -> Status {
      CAIRN_TRY(const std::vector<float> all, vector(layer_tensor(l, what)));
      const auto each = static_cast<std::ptrdiff_t>(all.size() / layer.experts.size());
      auto from = all.begin();
      for (GatedFfn& expert : layer.experts) {
        (expert.*bias).assign(from, from + each);
        from += each;
      }
      return {};
    };
    CAIRN_TRY_VOID(share("ffn_gate_exps.bias", &GatedFfn::gate_bias));
    CAIRN_TRY_VOID(share("ffn_up_exps.bias", &GatedFfn::up_bias));
    return share("ffn_down_exps.bias", &GatedFfn::down_bias);
  }

  // Tensors that are only looked into: the embedding of an untied model, RoPE factors.
  Status look_at(const GgufTensor& tensor) {
    CAIRN_TRY_VOID(took(tensor));
    model_.file_.release(tensor);
    return {};
  }

  Digest finish() { return digest_.finish(); }

 private:
  // One matrix whose rows are `data`.
  Linear take(WeightFormat format, std::uint32_t rows, std::uint32_t cols, std::span<const std::byte> data) {
    std::byte* memory = next_;
    const std::size_t panel = panel_bytes(format, cols), count = panel_count(rows);
    pool_.run(count, [&](std::size_t p, unsigned) {
      pack_panel(format, data.data(), rows, cols, static_cast<std::uint32_t>(p), memory + p * panel);
    });
    next_ += aligned(panel * count);
    model_.bytes_ += aligned(panel * count);
    model_.has_dense_ = model_.has_dense_ || is_dense(format);
    return Linear(PanelMatrix{format, rows, cols, memory});
  }

  // Every tensor enters the digest on its way, while its bytes are in the caches anyway.
  Status took(const GgufTensor& tensor) {
    digest_.add(tensor, pool_);
    CAIRN_TRY_VOID(check_finite(tensor));
    done_ += tensor.data.size();
    if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
    return {};
  }

  Status check_finite(const GgufTensor& tensor) {
    CAIRN_TRY(const WeightFormat format, tensor.format());
    const std::size_t block = weight_format_info(format).block_bytes, size = tensor.data.size();
    const std::size_t piece = (std::size_t{1} << 20) / block * block;
    std::atomic<bool> finite{true};
    pool_.run((size + piece - 1) / piece, [&](std::size_t i, unsigned) {
      const std::size_t first = i * piece;
      if (!all_finite(format, tensor.data.subspan(first, std::min(piece, size - first)))) finite = false;
    });
    if (finite) return {};
    return fail(ErrorCode::kCorrupt, "tensor " + in_quotes(tensor.name) +
                                         " holds what is no finite number: the model file is damaged, fetch it again");
  }

  ModelWeights& model_;
  ThreadPool& pool_;
  const std::function<void(double)>& progress_;
  ModelDigest digest_;
  std::byte* next_ = nullptr;
  std::size_t done_ = 0, total_ = 0;
};

Result<std::unique_ptr<ModelWeights>> ModelWeights::load(GgufFile file, const ModelConfig& config, ThreadPool& pool,
                                                         const std::function<void(double)>& progress) {
  std::unique_ptr<ModelWeights> model(new ModelWeights(std::move(file), config));
  model->embedding_ = model->file_.find_tensor("token_embd.weight");
  if (model->embedding_ == nullptr) return fail(ErrorCode::kNotFound, "the model lacks tensor 'token_embd.weight'");
  CAIRN_TRY(model->embedding_format_, model->embedding_->format());
  Loader loader(*model, pool, progress);
  CAIRN_TRY_VOID(loader.reserve());
  for (std::uint32_t l = 0; l < config.layers; ++l) {
    LayerWeights& layer = model->layers_.emplace_back();
    CAIRN_TRY_VOID(loader.attention(l, layer));
    CAIRN_TRY_VOID(loader.feed_forward(l, layer));
  }
  CAIRN_TRY(model->output_norm_, loader.vector("output_norm.weight"));
  CAIRN_TRY(model->output_, loader.matrix(config.tied_output ? "token_embd.weight" : "output.weight"));
  if (!config.tied_output) CAIRN_TRY_VOID(loader.look_at(*model->embedding_));
  for (const std::string_view name : kRopeFactors) {
    if (const GgufTensor* factors = model->file_.find_tensor(name)) CAIRN_TRY_VOID(loader.look_at(*factors));
  }
  model->digest_ = loader.finish();
  return model;
}

std::string ModelWeights::arithmetic() const {
  // Changes whenever a kernel or loop of ours changes the bits of a key or a value. They are the same on every
  // processor.
  return has_dense_ ? "int8-g32.v2+dense.v1" : "int8-g32.v2";
}

void ModelWeights::embedding(std::int32_t token, float* out) const {
  const std::size_t row_bytes = embedding_->data.size() / embedding_->rows();
  dequantise_row(embedding_format_, embedding_->data.data() + static_cast<std::size_t>(token) * row_bytes,
                 config_.width, out);
  if (config_.embedding_scale == 1.0f) return;
  for (std::uint32_t i = 0; i < config_.width; ++i) out[i] *= config_.embedding_scale;
}

Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic) {
  const std::vector<LayerSpec> layers = model_layers(config);
  return {.weights = weights,
          .adapters = {},
          .rope = canonical_rope(layers.front().rope),
          .tokenizer = tokenizer,
          .layers = static_cast<std::uint32_t>(layers.size()),
          .shape = layers.front().shape,
          .unlike_layers = unlike_layers(layers),
          .codec_plan = std::move(codec_plan),
          .retention = "all",
          .arithmetic = std::move(arithmetic)};
}

}  // namespace cairn
