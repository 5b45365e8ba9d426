#include "server/listen.h"

namespace chronolith::server {

using Tcp = boost::asio::ip::tcp;

Status ListenOn(const std::string& address, std::uint16_t port, Tcp::acceptor* acceptor) {
  boost::system::error_code error;
  const auto numeric = boost::asio::ip::make_address(address, error);
  if (error) return InvalidArgument("'" + address + "' is not a numeric address to listen on");
  const Tcp::endpoint endpoint(numeric, port);
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(1024, error);
  if (error) return FailedPrecondition("cannot listen on " + TextOf(endpoint) + ": " + error.message());
  return Status::Ok();
}

std::string TextOf(const Tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port());
}

}  // namespace chronolith::server
