// A server of HTTP/2 as Node makes it, which also speaks HTTP/1.1. Its arguments are the files of its
// key and its certificate. The first word of a task's ID decides its fate; `/stats` has counters.
const fs = require('node:fs');
const http2 = require('node:http2');

const stats = { versions: {}, sessions: 0, refused: 0, shaken: 0, under_way: 0, most_under_way: 0 };
const [key, cert] = process.argv.slice(2).map((file) => fs.readFileSync(file));
const server = http2.createSecureServer({ key, cert, allowHTTP1: true, maxSendHeaderBlockLength: 1 << 20 });
server.on('session', (session) => {
  stats.sessions += 1;
  session.streams = 0;
  session.sent = new Set();
  session.answering = 0;
});

// Breaks a connection that is to break once no answer is half-way: a poll whose answer has begun fails.
function breakBetweenAnswers(session) {
  if (!session.breaks || session.answering > 0) return;
  // The client gets time to read the last answer: what it has not read may go with the connection.
  setTimeout(() => session.destroy(), 500);
}

function answer(request, response, taskId) {
  response.setHeader('content-type', 'application/json');
  const kind = taskId.split('-')[0];
  if (kind === 'headers') for (let n = 0; n < 200; n += 1) response.setHeader(`x-header-${n}`, `value ${n}`);
  if (kind === 'bloated') for (let n = 0; n < 10; n += 1) response.setHeader(`x-header-${n}`, 'x'.repeat(30_000));
  const filler = kind === 'huge' ? 'x'.repeat(2 << 20) : '';
  response.end(JSON.stringify({ filler, code: 0, data: { taskId, status: 'running' } }));
}

server.on('request', (request, response) => {
  if (request.url === '/stats') return response.end(JSON.stringify(stats));
  stats.versions[request.httpVersion] = (stats.versions[request.httpVersion] ?? 0) + 1;
  const taskId = request.url.split('/task/')[1].split('/')[0];
  const session = request.stream?.session;
  if (session) session.streams += 1;
  switch (taskId.split('-')[0]) {
    case 'goaway': // Each answer is the last of its connection.
      answer(request, response, taskId);
      return session.close();
    case 'destroyed': // A connection breaks at its second request.
      return session.streams > 1 ? session.destroy() : answer(request, response, taskId);
    case 'shaky': // Now and then a connection breaks that has answered, with all that is under way.
      stats.shaken += 1;
      // A task that is asked for again has had its answer.
      session.answered ||= session.sent.has(taskId);
      // A connection for what is sent once more, of which there are 30 requests at most, does not break.
      session.breaks ||= session.answered && session.streams > 60;
      breakBetweenAnswers(session);
      return setTimeout(() => {
        if (session.breaks) return;
        session.answering += 1;
        request.stream.once('close', () => {
          session.answering -= 1;
          session.sent.add(taskId);
          breakBetweenAnswers(session);
        });
        answer(request, response, taskId);
      }, 100);
    case 'refused': // Every other request is not looked at.
      stats.refused += 1;
      if (stats.refused % 2 === 0) return request.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      return answer(request, response, taskId);
    case 'reset':
      return request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    case 'slow':
      stats.under_way += 1;
      stats.most_under_way = Math.max(stats.most_under_way, stats.under_way);
      return setTimeout(() => {
        stats.under_way -= 1;
        answer(request, response, taskId);
      }, 200);
    default:
      return answer(request, response, taskId);
  }
});
server.listen(0, '127.0.0.1', () => console.log(`"Listening on" address="127.0.0.1:${server.address().port}"`));
