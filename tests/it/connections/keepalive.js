// A server as Node makes it, with its default keep-alive of 5 s. Its first line has its port; `/count`
// answers how many tasks were asked for, and by how many connections.
const http = require('node:http');

let [asked, connections] = [0, 0];
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  if (request.url === '/count') return response.end(JSON.stringify({ asked, connections }));
  asked += 1;
  const taskId = request.url.split('/task/')[1].split('/')[0];
  response.end(JSON.stringify({ code: 0, data: { taskId, status: 'running' } }));
});
server.on('connection', () => { connections += 1; });
server.listen(0, '127.0.0.1', () => console.log(`"Listening on" address="127.0.0.1:${server.address().port}"`));
