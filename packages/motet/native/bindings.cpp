// The door to Python: numpy buffers in and out, no logic of its own.
//
// std::invalid_argument becomes ValueError, std::bad_alloc MemoryError and UnreadableWeightsError
// an OSError. What takes time releases the global interpreter lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernel_bindings.hpp"
#include "model/model.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Buffer = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Tokens = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using DerivedBytes = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<2>>;
using Item = std::tuple<std::shared_ptr<motet::Sequence>, Tokens, size_t>;

struct Encoding {
    motet::TensorView::Type type;
    nb::dlpack::dtype element;  // of the array that holds it
};

const Encoding& encoding(const std::string& name, const std::string& dtype) {
    using Type = motet::TensorView::Type;
    constexpr nb::dlpack::dtype half{static_cast<uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
    static const std::unordered_map<std::string, Encoding> encodings = {
        {"BF16", {Type::bf16, nb::dtype<uint16_t>()}},
        {"U8", {Type::u8, nb::dtype<uint8_t>()}},
        {"F16", {Type::float16, half}},
        {"F32", {Type::float32, nb::dtype<float>()}},
        {"INT4", {Type::int4, nb::dtype<uint8_t>()}},
        {"Q8_0", {Type::q8_0, nb::dtype<uint8_t>()}},
        {"MXFP4", {Type::mxfp4, nb::dtype<uint8_t>()}},
        {"MXFP4_PAIRS", {Type::mxfp4_pairs, nb::dtype<uint8_t>()}},
    };
    const auto found = encodings.find(dtype);
    if (found == encodings.end())
        throw std::invalid_argument("the tensor " + name + " has the unknown dtype " + dtype);
    return found->second;
}

motet::TensorView view(const std::string& name, const std::string& dtype, const Buffer& buffer) {
    const Encoding& how = encoding(name, dtype);
    if (buffer.dtype() != how.element)
        throw std::invalid_argument("the tensor " + name + " is " + dtype +
                                    ", but its array is of another type");
    motet::TensorView result{how.type, {}, buffer.data(), buffer.nbytes()};
    for (size_t i = 0; i < buffer.ndim(); ++i) result.shape.push_back(buffer.shape(i));
    return result;
}

motet::Precision precision_of(const std::string& name) {
    if (name == "exact") return motet::Precision::exact;
    if (name == "fast") return motet::Precision::fast;
    if (name == "fast4") return motet::Precision::fast4;
    throw std::invalid_argument("there is no precision " + name);
}

// A model together with the Python arrays its weights lie in.
struct BoundModel {
    std::vector<Buffer> buffers;
    std::unique_ptr<motet::Model> model;

    BoundModel(const motet::Config& config, const nb::dict& tensors, const std::string& precision,
               size_t threads) {
        const motet::Precision how = precision_of(precision);
        motet::TensorViews views;
        for (const auto& [key, value] : tensors) {
            const std::string name = nb::str(key).c_str();
            const auto [dtype, array] = nb::cast<std::pair<std::string, nb::object>>(value);
            Buffer buffer;
            if (!nb::try_cast(array, buffer, false))
                throw std::invalid_argument("the tensor " + name + " is not a contiguous array");
            buffers.push_back(std::move(buffer));
            views.emplace(name, view(name, dtype, buffers.back()));
        }
        const nb::gil_scoped_release unlocked;
        model = std::make_unique<motet::Model>(config, views, how, threads);
    }

    // By the name of the tensor it stands for: dtype and bytes of each derived matrix.
    nb::dict derived() const {
        nb::dict result;
        for (const motet::DerivedMatrix& each : model->derived()) {
            const char* dtype = each.type == motet::TensorView::Type::int4 ? "INT4" : "Q8_0";
            const size_t columns = each.memory.bytes() / each.rows;
            const DerivedBytes view(each.memory.data(), {each.rows, columns}, nb::find(this));
            result[each.name.c_str()] = nb::make_tuple(dtype, view);
        }
        return result;
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

    nb::exception<motet::UnreadableWeightsError>(module, "UnreadableWeightsError", PyExc_OSError);

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

    module.attr("PAGE_POSITIONS") = motet::kBlockPositions;
    module.attr("SEARCHED_VOCABULARY") = motet::kSearchedVocabulary;
    module.attr("REFINED_LOGITS") = motet::kRefined;
    nb::class_<motet::Page>(module, "Page")
        .def_prop_ro("bytes", &motet::Page::bytes)
        .def_prop_ro("shared", &motet::Page::shared);
    nb::class_<motet::Sequence>(module, "Sequence")
        .def_prop_ro("length", &motet::Sequence::length)
        .def("clear", &motet::Sequence::clear)
        .def("skip", &motet::Sequence::skip, "count"_a)
        .def("trim", &motet::Sequence::trim)
        .def("truncate", &motet::Sequence::truncate, "length"_a)
        .def(
            "full_page",
            [](const motet::Sequence& self, size_t index) {
                return self.page(motet::LayerKind::full, index);
            },
            "index"_a)
        .def(
            "sliding_page",
            [](const motet::Sequence& self, size_t index) {
                return self.page(motet::LayerKind::sliding, index);
            },
            "index"_a)
        .def("adopt", &motet::Sequence::adopt, "full"_a, "sliding"_a);

    nb::class_<BoundModel>(module, "Model")
        .def(nb::init<const motet::Config&, const nb::dict&, const std::string&, size_t>(),
             "config"_a, "tensors"_a, "precision"_a, "threads"_a)
        .def_prop_ro("threads", [](const BoundModel& self) { return self.model->threads(); })
        .def_prop_ro("instruction_set",
                     [](const BoundModel& self) { return self.model->instruction_set(); })
        .def("derived", &BoundModel::derived)
        .def_prop_ro("cache_bytes",
                     [](const BoundModel& self) { return self.model->cache_bytes(); })
        .def_prop_ro("page_bytes",
                     [](const BoundModel& self) {
                         return std::pair(self.model->page_bytes(motet::LayerKind::full),
                                          self.model->page_bytes(motet::LayerKind::sliding));
                     })
        .def("sequence", [](const BoundModel& self) { return self.model->sequence(); })
        .def("step", &BoundModel::step, "batch"_a)
        .def("bring_large_pages", [](BoundModel& self) {
            const nb::gil_scoped_release unlocked;
            return self.model->bring_large_pages();
        });

    motet::bind_kernels(module);
}
