// One list of options. An options struct lists its members once:
//
//   struct TrainOptions {
//     double lr = 3e-4;
//     template <class F> void fields(F&& f) { f("lr", lr, "peak learning rate"); }
//   };
//
// and TOML files, --key=value overrides, --help, the run manifest and JSON all walk that list (config.h). A member may
// be a bool, int, int64_t, double, std::string, a vector of int64_t, double or strings, another such struct (a TOML
// table, dotted on the command line) or a vector of such structs (an array of tables).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace puyu {

struct Field;
using Fields = std::vector<Field>;

struct TableRef {  // a nested struct
  std::function<Fields()> fields;
};
struct TableListRef {  // a vector of structs
  std::function<void()> clear;
  std::function<Fields()> append;  // adds one with default values and gives its fields
  std::function<size_t()> size;
  std::function<Fields(size_t)> at;
};

struct Field {
  std::string name;
  std::variant<bool*, int*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<double>*,
               std::vector<std::string>*, TableRef, TableListRef>
      value;
  std::string help;
};

template <class T>
Fields list_fields(T& options);

namespace detail {
template <class T>
constexpr bool kIsVector = false;
template <class T>
constexpr bool kIsVector<std::vector<T>> = true;

template <class T>
Field make_field(const char* name, T& v, const char* help) {
  if constexpr (std::is_constructible_v<decltype(Field::value), T*>) {
    return {name, &v, help};
  } else if constexpr (kIsVector<T>) {
    return {name,
            TableListRef{[&v] { v.clear(); }, [&v] { return list_fields(v.emplace_back()); }, [&v] { return v.size(); },
                         [&v](size_t i) { return list_fields(v.at(i)); }},
            help};
  } else {
    return {name, TableRef{[&v] { return list_fields(v); }}, help};
  }
}
}  // namespace detail

template <class T>
Fields list_fields(T& options) {
  Fields out;
  options.fields(
      [&](const char* name, auto& v, const char* help) { out.push_back(detail::make_field(name, v, help)); });
  return out;
}

}  // namespace puyu
