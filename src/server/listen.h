// Sockets that listen.
#ifndef CHRONOLITH_SERVER_LISTEN_H_
#define CHRONOLITH_SERVER_LISTEN_H_

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <string>

#include "chronolith/status.h"

namespace chronolith::server {

// Binds it and listens. `address`: numeric, IPv4 or IPv6; port 0: any free one. kInvalidArgument: the address;
// kFailedPrecondition: it cannot be bound, the reason is named.
Status ListenOn(const std::string& address, std::uint16_t port, boost::asio::ip::tcp::acceptor* acceptor);

// "127.0.0.1:9201", "[::1]:9201"
std::string TextOf(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_LISTEN_H_
