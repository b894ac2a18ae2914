#include <toml++/toml.h>

#include "base/config.h"
#include "base/error.h"

namespace puyu {
namespace {

std::string place(const std::string& where, const toml::node& n) { return cat(where, ":", n.source().begin.line); }

[[noreturn]] void wrong_type(const std::string& where, const toml::node& n, const std::string& key,
                             const char* expected) {
  std::string got(toml::impl::node_type_friendly_names[static_cast<size_t>(n.type())]);
  fail("[config] ", place(where, n), ": key '", key, "': expected ", expected, ", got ", got);
}

void read_table(const Fields& fields, const toml::table& t, const std::string& where);

struct Reader {
  const toml::node& n;
  const std::string& key;
  const std::string& where;

  void operator()(bool* p) const {
    if (!n.is_boolean()) wrong_type(where, n, key, "true or false");
    *p = n.as_boolean()->get();
  }
  void operator()(int64_t* p) const {
    if (!n.is_integer()) wrong_type(where, n, key, "an integer");
    *p = n.as_integer()->get();
  }
  void operator()(int* p) const {
    int64_t v = 0;
    (*this)(&v);
    if (v < INT32_MIN || v > INT32_MAX)
      fail("[config] ", place(where, n), ": key '", key, "': ", v, " is out of range");
    *p = static_cast<int>(v);
  }
  void operator()(double* p) const {
    if (n.is_integer())
      *p = static_cast<double>(n.as_integer()->get());
    else if (n.is_floating_point())
      *p = n.as_floating_point()->get();
    else
      wrong_type(where, n, key, "a number");
  }
  void operator()(std::string* p) const {
    if (!n.is_string()) wrong_type(where, n, key, "a string");
    *p = n.as_string()->get();
  }
  template <class T>
  void operator()(std::vector<T>* p) const {
    if (!n.is_array()) wrong_type(where, n, key, "an array");
    p->clear();
    for (const toml::node& e : *n.as_array()) {
      T v{};
      Reader{e, key, where}(&v);
      p->push_back(std::move(v));
    }
  }
  void operator()(const TableRef& r) const {
    if (!n.is_table()) wrong_type(where, n, key, "a table");
    read_table(r.fields(), *n.as_table(), where);
  }
  void operator()(const TableListRef& r) const {
    if (!n.is_array()) wrong_type(where, n, key, "an array of tables");
    r.clear();
    for (const toml::node& e : *n.as_array()) {
      if (!e.is_table()) wrong_type(where, e, key, "a table");
      read_table(r.append(), *e.as_table(), where);
    }
  }
};

void read_table(const Fields& fields, const toml::table& t, const std::string& where) {
  for (const auto& [k, node] : t) {
    std::string key(k.str());
    const Field* field = nullptr;
    for (const Field& f : fields)
      if (f.name == key) field = &f;
    if (!field) unknown_key(fields, key, place(where, node));
    std::visit(Reader{node, key, where}, field->value);
  }
}

}  // namespace

void read_toml(const Fields& fields, const std::string& text, const std::string& where) {
  try {
    read_table(fields, toml::parse(text, where), where);
  } catch (const toml::parse_error& e) { fail("[config] ", where, ":", e.source().begin.line, ": ", e.description()); }
}

}  // namespace puyu
