// Decides about single objects: the rules of rules.h held against what the caller's account says.
//
// An account without permissions of its own costs two looks into maps; one whose permissions all allow what its role
// allows costs no more. Otherwise the objects are looked up, in one statement for each rule that needs it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "access/directory.h"
#include "access/rules.h"

namespace cairn::access {

class ObjectGuard {
 public:
  // Stands before the handlers of all routes of `router`, which must all be there. It must outlive their use, and
  // `directory` it.
  ObjectGuard(http::Router& router, Directory& directory);

 private:
  using Account = std::shared_ptr<const http::Account>;
  // A route, what it is about, and what would answer if there were no guard.
  struct Guarded {
    const http::Route& route;
    std::span<const Rule> rules;
    http::Role needed;  // by the caller's role, where no object decides
    http::Handler handler;
  };

  task<http::Response> serve(const Guarded& guarded, http::Request& request);
  task<http::Response> checked(const Guarded& guarded, Account account, http::Request& request);
  task<> check(const Rule& rule, const Guarded& guarded, const http::Account& account, const http::Request& request);
  task<> check_objects(const Rule& rule, const http::Account& account, const http::Request& request);
  // Of a rule that makes objects: those that are asked for and are not there yet.
  task<std::vector<std::string>> wanted(const Rule& rule, const http::Request& request);
  task<> add_manager(const Rule& rule, Account account, const http::Response& response, std::vector<std::string> names);

  Directory& directory_;
};

}  // namespace cairn::access
