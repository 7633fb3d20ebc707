'use strict'
// SPF, DKIM, ARC and DMARC by mailauth once the content is in; its results go on top of the message.
const { PassThrough } = require('node:stream')
const { authenticate } = require('mailauth')

exports.register = function () {
  this.register_hook('data_post', 'judge')
}

exports.judge = function (next, connection) {
  const mail = connection.transaction
  const from = mail.mail_from
  const copy = new PassThrough()
  const facts = {
    ip: connection.remote.ip,
    helo: connection.hello.host,
    sender: typeof from.address === 'function' ? from.address() : from.address,
    mta: 'gw.example.net',
    disableBimi: true,
  }
  authenticate(copy, facts).then((found) => {
    const status = found.dmarc && found.dmarc.status
    if (status && status.result === 'fail' && found.dmarc.policy === 'reject') return next(DENY, 'DMARC')
    for (const field of found.headers.trimEnd().split(/\r\n(?![ \t])/)) {
      const colon = field.indexOf(':')
      mail.add_leading_header(field.slice(0, colon), field.slice(colon + 1).trim())
    }
    next()
  }, (error) => {
    connection.logerror(this, error.stack)
    next(DENYSOFT, 'the checks failed')
  })
  mail.message_stream.pipe(copy)
}
