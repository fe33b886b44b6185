// The door to Python: numpy buffers in and out, no logic of its own.
//
// std::invalid_argument becomes ValueError and std::bad_alloc MemoryError. A step releases the
// global interpreter lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "model/model.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Buffer = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Tokens = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using Item = std::tuple<std::shared_ptr<motet::Sequence>, Tokens, size_t>;

motet::TensorView view(const std::string& name, const Buffer& buffer) {
    motet::TensorView result{motet::TensorView::Type::u8, {}, buffer.data()};
    if (buffer.dtype() == nb::dtype<uint16_t>())
        result.type = motet::TensorView::Type::bf16;
    else if (buffer.dtype() != nb::dtype<uint8_t>())
        throw std::invalid_argument("the tensor " + name + " must be uint8 or uint16 (bf16 bits)");
    for (size_t i = 0; i < buffer.ndim(); ++i) result.shape.push_back(buffer.shape(i));
    return result;
}

// A model together with the Python arrays its weights lie in.
struct BoundModel {
    std::vector<Buffer> buffers;
    std::unique_ptr<motet::Model> model;

    BoundModel(const motet::Config& config, const nb::dict& tensors, size_t threads) {
        motet::TensorViews views;
        for (const auto& [key, value] : tensors) {
            const std::string name = nb::str(key).c_str();
            Buffer buffer;
            if (!nb::try_cast(value, buffer, false))
                throw std::invalid_argument("the tensor " + name + " is not a contiguous array");
            buffers.push_back(std::move(buffer));
            views.emplace(name, view(name, buffers.back()));
        }
        model = std::make_unique<motet::Model>(config, views, threads);
    }

    Logits step(const std::vector<Item>& batch) {
        std::vector<motet::StepItem> items;
        size_t rows = 0;
        for (const auto& [sequence, tokens, logit_rows] : batch) {
            items.push_back({sequence.get(), {tokens.data(), tokens.shape(0)}, logit_rows});
            rows += logit_rows;
        }
        model->validate(items);
        const size_t vocabulary = model->config()->vocabulary_size;
        auto logits = std::make_unique_for_overwrite<float[]>(rows * vocabulary);
        {
            const nb::gil_scoped_release unlocked;
            model->step(items, logits.get());
        }
        const nb::capsule owner(logits.get(),
                                [](void* p) noexcept { delete[] static_cast<float*>(p); });
        return Logits(logits.release(), {rows, vocabulary}, owner);
    }
};

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "The compiled part of motet: the gpt-oss forward pass.";

    nb::class_<motet::Config>(module, "Config")
        .def(
            "__init__",
            [](motet::Config* self, const std::vector<bool>& sliding, size_t hidden_size,
               size_t intermediate_size, size_t experts, size_t experts_per_token,
               size_t attention_heads, size_t key_value_heads, size_t head_dim,
               size_t vocabulary_size, size_t sliding_window, size_t context_length,
               double initial_context_length, double rope_theta, double rope_scaling_factor,
               double rope_beta_slow, double rope_beta_fast, double swiglu_limit,
               double rms_norm_eps) {
                motet::Config config{
                    .hidden_size = hidden_size,
                    .intermediate_size = intermediate_size,
                    .experts = experts,
                    .experts_per_token = experts_per_token,
                    .attention_heads = attention_heads,
                    .key_value_heads = key_value_heads,
                    .head_dim = head_dim,
                    .vocabulary_size = vocabulary_size,
                    .sliding_window = sliding_window,
                    .context_length = context_length,
                    .sliding = sliding,
                    .rope_theta = rope_theta,
                    .rope_scaling_factor = rope_scaling_factor,
                    .rope_beta_slow = rope_beta_slow,
                    .rope_beta_fast = rope_beta_fast,
                    .initial_context_length = initial_context_length,
                    .swiglu_limit = static_cast<float>(swiglu_limit),
                    .rms_norm_eps = static_cast<float>(rms_norm_eps),
                };
                config.validate();
                new (self) motet::Config(std::move(config));
            },
            nb::kw_only(), "sliding"_a, "hidden_size"_a, "intermediate_size"_a, "experts"_a,
            "experts_per_token"_a, "attention_heads"_a, "key_value_heads"_a, "head_dim"_a,
            "vocabulary_size"_a, "sliding_window"_a, "context_length"_a, "initial_context_length"_a,
            "rope_theta"_a, "rope_scaling_factor"_a, "rope_beta_slow"_a, "rope_beta_fast"_a,
            "swiglu_limit"_a, "rms_norm_eps"_a);

    nb::class_<motet::Sequence>(module, "Sequence")
        .def_prop_ro("length", &motet::Sequence::length)
        .def("clear", &motet::Sequence::clear);

    nb::class_<BoundModel>(module, "Model")
        .def(nb::init<const motet::Config&, const nb::dict&, size_t>(), "config"_a, "tensors"_a,
             "threads"_a)
        .def_prop_ro("threads", [](const BoundModel& self) { return self.model->threads(); })
        .def_prop_ro("instruction_set",
                     [](const BoundModel& self) { return self.model->instruction_set(); })
        .def_prop_ro("cache_bytes",
                     [](const BoundModel& self) { return self.model->cache_bytes(); })
        .def("sequence", [](const BoundModel& self) { return self.model->sequence(); })
        .def("step", &BoundModel::step, "batch"_a);
}
