'use strict'
// Takes mail for anyone into Haraka's own queue on disk, and sends all of it to the benchmark's backend.
exports.register = function () {
  this.outbound = require(process.env.HARAKA_OUTBOUND)
  this.port = parseInt(this.config.get('backend_port'), 10)
  this.register_hook('rcpt', 'take')
  this.register_hook('queue', 'store')
  this.register_hook('get_mx', 'route')
}

exports.take = (next) => next(OK)

exports.store = function (next, connection) {
  this.outbound.send_trans_email(connection.transaction, next)
}

exports.route = function (next) {
  next(OK, { priority: 0, exchange: '127.0.0.1', port: this.port })
}
