'use strict';
(function () {
  var paused = false, late = 0;

  function show(text) {
    var fresh = new DOMParser().parseFromString(text, 'text/html');
    var page = document.getElementById('page');
    var next = fresh.getElementById('page');
    if (!next) { throw new Error('another page'); }
    page.querySelectorAll('details[open]').forEach(function (details) {
      var same = next.querySelector('#' + details.id);
      if (same) { same.open = true; }
    });
    var focused = Array.from(page.querySelectorAll('a, button, summary'))
      .indexOf(document.activeElement);
    var top = window.scrollY;
    page.replaceWith(document.adoptNode(next));
    document.title = fresh.title;
    window.scrollTo(0, top);
    begin();
    var again = document.querySelectorAll('a, button, summary')[focused];
    if (again) { again.focus({preventScroll: true}); }
  }

  function load() {
    if (paused || document.hidden) { return wait(); }
    var stop = new AbortController();
    var timer = setTimeout(function () { stop.abort(); }, 15000);
    fetch(location.href, {signal: stop.signal, cache: 'no-store'})
      .then(function (response) {
        if (!response.ok) { throw new Error(response.status); }
        return response.text();
      })
      .then(function (text) { late = 0; if (!paused) { show(text); } })
      .catch(function () {
        late = late || Date.now();
        var loaded = document.getElementById('loaded');
        loaded.className = 'late';
        loaded.textContent = 'The site has not answered for ' +
          Math.round((Date.now() - late) / 1000) + ' s';
      })
      .finally(function () { clearTimeout(timer); wait(); });
  }

  function wait() {
    var page = document.getElementById('page');
    setTimeout(load, 1000 * page.dataset.interval);
  }

  function begin() {
    var button = document.getElementById('pause');
    button.hidden = false;
    function label() {
      button.textContent = paused ? 'Go on' : 'Pause';
      button.setAttribute('aria-pressed', String(paused));
    }
    button.addEventListener('click', function () {
      paused = !paused;
      label();
    });
    label();
  }

  begin();
  wait();
}());
