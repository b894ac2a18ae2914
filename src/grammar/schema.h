// JSON Schema as a grammar: every text that it lets through is JSON and valid under the schema. What it cannot promise
// is an Error that names the keyword's path, "[schema] #/properties/age/multipleOf: ...", never ignored; only
// annotations (title, description, default, examples, $comment, ...) have no effect.
//
// Supported: type (also a list), properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
// minLength, maxLength, pattern, format (date, time, date-time, uuid), minimum, maximum, exclusiveMinimum and
// exclusiveMaximum of integers, enum, const, anyOf, oneOf (when its members exclude each other), allOf (of objects),
// $ref within the document. Where a schema leaves a choice, the grammar takes the narrow one: properties come in the
// order written; without additionalProperties only the declared ones; without a type the one that the keywords belong
// to; arrays with prefixItems end there unless items follow.
#pragma once
#include "base/json.h"
#include "grammar/grammar.h"

namespace puyu::grammar {

Grammar schema_grammar(const Json& schema);
Grammar json_object_grammar();  // any object

}  // namespace puyu::grammar
